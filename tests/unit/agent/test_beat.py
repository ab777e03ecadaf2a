"""systemd and other agents hear that this one lives, and stop hearing it when it is stuck."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.agent.disk.lease import Lease
from stack.agent.machine.processes import this_process
from stack.agent.upkeep.beat import LONGEST_KEEP_S, Beat, notify


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def lease(tmp_path: Path, name: str) -> Lease:
    return Lease(tmp_path / f"{name}.json", this_process())


@contextmanager
def beating(beat: Beat, stopping: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=beat.run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(10.0)


def test_systemd_hears_of_the_agent_where_it_listens(
    tmp_path: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify("WATCHDOG=1")
    assert systemd.recv(100) == b"WATCHDOG=1"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("WATCHDOG=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("WATCHDOG=1")


def test_a_keeper_that_loads_a_large_image_stops_neither_lease_nor_watchdog(
    tmp_path: Path, systemd: socket.socket
) -> None:
    serving, stopping = lease(tmp_path, "serving"), threading.Event()
    serving.take("pid 1", "serve", 1.0)
    with beating(Beat(serving, lease(tmp_path, "claim"), stopping, tmp_path), stopping):
        assert systemd.recv(100) == systemd.recv(100) == b"WATCHDOG=1"
        assert not serving.overdue and serving.terms is not None
        assert serving.terms.until_ns > time.monotonic_ns() + 60e9


@pytest.mark.parametrize("stuck", ["keeper", "change"])
def test_systemd_hears_nothing_of_a_stuck_agent(tmp_path: Path, systemd: socket.socket, stuck: str) -> None:
    serving, claim, stopping = lease(tmp_path, "serving"), lease(tmp_path, "claim"), threading.Event()
    serving.take("pid 1", "serve", 1.0)
    beat = Beat(serving, claim, stopping, tmp_path)
    if stuck == "keeper":
        beat.kept_s -= LONGEST_KEEP_S
    else:
        claim.take("uid 0", "stage", 0.0)
    before = serving.terms
    with beating(beat, stopping):
        deadline = time.monotonic() + 10.0
        while serving.terms == before and time.monotonic() < deadline:
            stopping.wait(0.05)
    assert serving.terms != before
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


def test_an_agent_that_was_taken_over_ends(tmp_path: Path) -> None:
    old, new, stopping = lease(tmp_path, "serving"), lease(tmp_path, "serving"), threading.Event()
    old.take("pid 1", "serve", 0.0)
    new.take("pid 2", "serve", 60.0)
    beat = Beat(old, lease(tmp_path, "claim"), stopping, tmp_path)
    beat.run()
    assert stopping.is_set() and "pid 2 has taken over" in str(beat.taken_over)
