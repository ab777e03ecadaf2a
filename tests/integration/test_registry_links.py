"""Links that break, registries that go away, disks that are small: what arrived is never fetched twice, nor trusted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError
from model_registry.disk import ModelDisk
from model_registry.packing import copy, pack
from model_registry.sources import open_source
from model_registry.sources.http import TransferError
from model_registry.sources.meter import Meter, parse_rate
from model_registry.store import check_model, pull_model
from tests.fakes.model import NAME, make_model
from tests.fakes.registry import FakeRegistry, Handler, know_nothing
from tests.fakes.ros import wait_until

SIZE = 6_000_000
STEP = 1_000_000


class Link:
    """A registry with one model whose weights have SIZE bytes, behind a link that the tests break."""

    def __init__(self, folder: Path, registry: FakeRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.quiet = threading.Event()
        registry.faults.ranges = True
        self.model, self.digest = self.publish("1.0.0", "m")

    def publish(self, version: str, name: str, **change: object) -> tuple[Path, Digest]:
        layout = open_source(f"oci:{self.folder / 'layout'}", writable=True)
        folder = make_model(self.folder / name, version=version, size=SIZE, **change)
        _, digest = pack(folder, layout)
        copy(layout, open_source(self.registry.url), NAME, digest, version)
        self.registry.requests.clear()
        return folder, digest

    def pull(self, digest: Digest | None = None, disk: ModelDisk | None = None) -> Path:
        wanted = digest or self.digest
        path = pull_model(open_source(self.registry.url), NAME, wanted, self.models, disk=disk).path
        check_model(path, wanted)
        return path

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def part(self) -> Path:
        return self.models / f".{self.digest.hex}.part" / "policy.onnx"

    def weights(self) -> str:
        return str(Digest.of_file(self.model / "policy.onnx"))

    def sent(self) -> int:
        return sum(size for method, path, _, size in self.registry.requests if path.endswith(self.weights()))

    def cut(self, every: int) -> None:
        """End each connection after so many bytes of the weights."""

        def answer(request: Handler) -> bool:
            if request.command != "GET" or not request.path.endswith(self.weights()):
                return False
            data = self.registry.blobs[self.weights()]
            start = int(request.headers.get("Range", "bytes=0-")[6:-1])
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
            rest = data[start:]
            request.reply(206 if start else 200, rest, headers, every if every < len(rest) else None)
            return True

        self.registry.faults.answer = answer


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    know_nothing(monkeypatch, tmp_path / "docker")
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "3.0")
    with FakeRegistry() as registry:
        yield Link(tmp_path, registry)


def test_tries_count_only_while_nothing_arrives(link: Link) -> None:
    link.cut(every=STEP)
    link.pull()
    assert link.sent() <= 1.02 * (link.model / "policy.onnx").stat().st_size


def test_what_arrived_stays_and_the_next_pull_goes_on_from_there(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "0.5")
    whole, asked = link.registry.blobs[link.weights()], []

    def answer(request: Handler) -> bool:
        if not request.path.endswith(link.weights()) or request.command != "GET":
            return False
        asked.append(request.headers.get("Range"))
        request.reply(503) if len(asked) > 1 else request.reply(200, whole, None, 4_000_000)
        return True

    link.registry.faults.answer = answer
    with pytest.raises(TransferError, match="503"):
        link.pull()
    kept = link.part.stat().st_size
    assert 0 < kept <= 4_000_000 and not (link.models / link.digest.hex).exists()
    link.registry.faults.answer = None
    link.registry.requests.clear()
    link.pull()
    assert link.sent() == len(whole) - kept


def test_kept_bytes_that_are_wrong_are_thrown_away(link: Link) -> None:
    link.part.parent.mkdir(parents=True)
    link.part.write_bytes(b"\0" * STEP)
    link.pull()


@pytest.mark.parametrize("leftover", ["link", "hard link", "too long", "folder", "stranger"])
def test_what_lies_there_and_is_not_ours_does_no_harm(leftover: str, link: Link) -> None:
    link.part.parent.mkdir(parents=True)
    outside = link.folder / "outside"
    outside.write_bytes(b"precious")
    if leftover == "link":
        link.part.symlink_to(outside)
    elif leftover == "hard link":
        link.part.hardlink_to(outside)
    elif leftover == "too long":
        link.part.write_bytes(b"\0" * (SIZE * 2))
    elif leftover == "folder":
        (link.part / "deep").mkdir(parents=True)
        (link.part / "deep" / "x").write_text("x")
    else:
        (link.part.parent / "stranger").symlink_to(outside)
    path = link.pull()
    assert outside.read_bytes() == b"precious"
    assert not (path / "stranger").exists()


def test_a_killed_pull_goes_on(link: Link) -> None:
    """SIGKILL in the middle: what the next one fetches is what the first one had not."""
    link.registry.faults.answer = drip(link)
    argv = [sys.executable, "-m", "model_registry.cli", "model", "pull", f"{NAME}@{link.digest}"]
    argv += ["--source", link.registry.url, "--to", str(link.models)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: link.part.exists() and link.part.stat().st_size > STEP, 30.0, "some of the weights")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = link.part.stat().st_size
    link.registry.faults.answer = None
    link.registry.requests.clear()
    link.pull()
    assert link.sent() == len(link.registry.blobs[link.weights()]) - kept


def drip(link: Link) -> object:
    def answer(request: Handler) -> bool:
        if not request.path.endswith(link.weights()) or request.command != "GET":
            return False
        data = link.registry.blobs[link.weights()]
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        for start in range(0, len(data), 100_000):
            request.wfile.write(data[start : start + 100_000])
            link.quiet.wait(0.02)
        return True

    return answer


def test_files_of_stored_models_are_not_fetched_again(link: Link) -> None:
    first = link.pull()
    _, second = link.publish("1.0.1", "n")
    path = link.pull(digest=second)
    assert link.sent() == 0 and (path / "policy.onnx").stat().st_nlink == 1
    assert (first / "policy.onnx").read_bytes() == (path / "policy.onnx").read_bytes()


def test_a_stored_file_is_hashed_before_it_is_taken(link: Link) -> None:
    path = link.pull() / "policy.onnx"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(STEP)
        file.write(b"rotten")
    _, second = link.publish("1.0.1", "n")
    link.pull(digest=second)
    assert link.sent() == len(link.registry.blobs[link.weights()])


def test_wrong_bytes_are_asked_for_once_more_and_then_refused(link: Link) -> None:
    link.registry.faults.flip = link.weights()
    with pytest.raises(IntegrityError, match="twice"):
        link.pull()
    assert link.sent() == 2 * len(link.registry.blobs[link.weights()])
    assert not link.part.exists()


class SmallDisk(ModelDisk):
    """A disk on which others take the room: `taken` until a folder goes, or after so many pieces."""

    def __init__(self, taken: Path | None = None, pieces: int = 1000, free: int = 1 << 40) -> None:
        self.taken, self.pieces, self.left = taken, pieces, free
        self.asked = 0

    def free(self, folder: Path) -> int:
        return self.left

    def reserve(self, descriptor: int, size: int) -> None:
        self.asked += 1
        if self.taken is not None and self.taken.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, descriptor: int, piece: bytes) -> None:
        self.pieces -= 1
        if self.pieces < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, piece)


def test_room_is_taken_before_a_weight_byte_and_leftovers_go_for_it(link: Link) -> None:
    leftover = link.models / f".{'a' * 64}.part"
    leftover.mkdir(parents=True)
    (leftover / "policy.onnx").write_bytes(b"x" * 1000)
    disk = SmallDisk(taken=leftover)
    link.pull(disk=disk)
    assert disk.asked > 1 and not leftover.exists()


def test_a_disk_that_is_too_small_is_refused_before_a_weight_byte(link: Link) -> None:
    with pytest.raises(HomeportError, match="needs 5 MiB more"):
        link.pull(disk=SmallDisk(free=66 << 20))
    assert link.sent() == 0


def test_a_disk_that_fills_keeps_what_arrived(link: Link) -> None:
    with pytest.raises(OSError, match="No space left"):
        link.pull(disk=SmallDisk(pieces=3))
    link.registry.requests.clear()
    link.pull()
    assert link.sent() < len(link.registry.blobs[link.weights()])


def test_room_is_really_taken(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        ModelDisk().reserve(file.fileno(), 5 << 20)
        found = os.fstat(file.fileno())
    assert (found.st_size, found.st_blocks * 512 >= 5 << 20) == (0, True)


def test_a_meter_knows_rate_and_time_left_and_holds_the_limit() -> None:
    now, slept = [0.0], []
    meter = Meter(limit=1000.0, clock=lambda: now[0], rest=slept.append)
    meter.expect(10_000)
    now[0] = 1.0
    meter(2000)
    assert (meter.done, meter.rate, meter.left_s) == (2000, 2000.0, 4.0)
    assert slept == [1.0]
    assert meter.transfer().document() == {"done": 2000, "total": 10_000, "rate": 2000, "left_s": 4}


def test_a_drip_is_ended_where_a_least_rate_is_set() -> None:
    now = [0.0]
    meter = Meter(least=5000.0, clock=lambda: now[0])
    with pytest.raises(TransferError, match="slower than 5000"):
        for second in range(60):
            now[0] = float(second)
            meter(2000)
    assert 30.0 <= now[0] <= 31.0


@pytest.mark.parametrize(
    ("text", "rate"), [("500K", 512_000.0), ("20m", 20.0 * (1 << 20)), ("7", 7.0), ("1.5G", 1.5 * (1 << 30))]
)
def test_rates_are_read_as_curl_reads_them(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "M", "-1", "0", "1T", "nan", "1e99"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HomeportError, match="rate"):
        parse_rate(text)
