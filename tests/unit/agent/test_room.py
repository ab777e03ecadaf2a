"""A disk that fills up: refused while there is room to refuse, and the journal is written when there is none."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from model_registry.core.errors import RefusedError
from model_registry.core.files import Files
from stack.agent.disk.journal import Journal
from stack.agent.machine.room import ReservedFiles, check_room, refill, shortage, size_of
from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import Rig

TOO_MUCH = 1 << 60


class FullDisk(Files):
    """Takes half of every record while the reserve lies on it."""

    reserve: Path

    def _take(self, path: Path, data: bytes) -> None:
        if self.reserve.exists():
            with path.open("ab") as file:
                file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def _extend(self, path: Path, data: bytes) -> None:
        self._take(path, data)
        super()._extend(path, data)

    def _create(self, path: Path, pieces: Iterable[bytes], mode: int) -> None:
        self._take(path, b"xx")
        super()._create(path, pieces, mode)

    def _symlink(self, path: Path, target: str) -> None:
        self._take(path.with_suffix(".half"), b"xx")
        super()._symlink(path, target)


class Cramped(ReservedFiles, FullDisk):
    """The agent's files on that disk."""

    def __init__(self, reserve: Path) -> None:
        super().__init__(reserve, lambda: None)
        self.reserve = reserve


def test_a_record_is_whole_although_the_disk_was_full(tmp_path: Path) -> None:
    reserve, path = tmp_path / "reserve", tmp_path / "journal.jsonl"
    Journal(path, Files()).append("d-1", "CLAIM", "intent", None, {})
    refill(reserve)
    journal = Journal(path, Cramped(reserve))

    journal.append("d-1", "FAILED", "done", None, {})

    again = Journal(path, Files())
    assert [record.stage for record in again.records] == ["CLAIM", "FAILED"] and again.damaged == []
    assert not reserve.exists()


def test_links_and_documents_find_the_last_room_as_well(tmp_path: Path) -> None:
    for act in (lambda f: f.write(tmp_path / "floor.json", b"{}"), lambda f: f.link(tmp_path / "current", "slots/a")):
        refill(tmp_path / "reserve")
        act(Cramped(tmp_path / "reserve"))
    assert (tmp_path / "floor.json").read_bytes() == b"{}" and (tmp_path / "current").readlink() == Path("slots/a")


def test_without_the_last_room_a_full_disk_is_an_error(tmp_path: Path) -> None:
    class AlwaysFull(FullDisk):
        def _take(self, path: Path, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    class Files_(ReservedFiles, AlwaysFull):
        pass

    refill(tmp_path / "reserve")
    with pytest.raises(OSError, match="No space left"):
        Files_(tmp_path / "reserve", lambda: None).append(tmp_path / "journal.jsonl", b"x\n")


def test_the_last_room_is_taken_again(tmp_path: Path) -> None:
    reserve = tmp_path / "reserve"
    refill(reserve)
    size = size_of(reserve)
    reserve.unlink()
    refill(reserve)
    assert size_of(reserve) == size > 1 << 20


def test_what_does_not_fit_is_told_in_bytes_with_what_makes_room(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(RefusedError) as caught:
        check_room(tmp_path, {"the model": free, "its engine": 0})
    assert f"the model {free}" in str(caught.value) and "homeport-agent prune" in str(caught.value)
    assert "its engine" not in str(caught.value)


def refused_for_room(rig: Rig, size: str, words: str) -> None:
    (rig.source / "sizes.json").write_text(json.dumps({size: TOO_MUCH}))

    answer = rig.run("stage", rig.publish("1.0.0"))

    assert answer.code == 5 and words in answer.message and "homeport-agent prune" in answer.message
    assert answer.result["failure"]["stage"] == "STAGE"
    assert not list(rig.layout.releases.iterdir()) and not list(rig.layout.models.iterdir())
    assert not list(rig.layout.ingest.iterdir())
    (rig.source / "sizes.json").unlink()
    assert rig.run("stage", next(iter(rig.versions))).code == 0


def test_a_model_that_does_not_fit_is_refused_before_it_is_fetched(rig: Rig) -> None:
    refused_for_room(rig, "model_bytes", f"the model {TOO_MUCH}, its engine {TOO_MUCH}")


def test_an_image_that_does_not_fit_twice_is_refused_before_it_is_pulled(docker_rig: DockerRig) -> None:
    refused_for_room(docker_rig, "image_bytes", f"a copy of its image {int(2.2 * TOO_MUCH)}")
    assert len(docker_rig.calls("docker", "pull")) == 1


def test_the_agent_keeps_the_last_room(rig: Rig) -> None:
    rig.until(rig.layout.reserve.exists, "the reserve is there")
    rig.layout.reserve.unlink()
    rig.until(rig.layout.reserve.exists, "the reserve is there again")


def test_a_shortage_is_told_with_the_bytes_and_what_makes_room(tmp_path: Path) -> None:
    assert shortage([tmp_path], 0) is None
    text = shortage([tmp_path], TOO_MUCH)
    assert text is not None and text.startswith(f"{tmp_path}: only ") and "homeport-agent prune" in text
