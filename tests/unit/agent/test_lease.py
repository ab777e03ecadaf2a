"""A lease ends by itself: with its time, with its holder, or with its boot; and an older fence writes nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import LockedError
from model_registry.core.files import Files
from stack.agent.disk.journal import Journal
from stack.agent.disk.lease import Lease
from stack.agent.machine.processes import ProcessId, boot_id, start_ticks, this_process

RELEASE = Digest.of(b"release")


def lease(tmp_path: Path, me: ProcessId | None = None) -> Lease:
    return Lease(tmp_path / "claim.json", me or this_process())


def test_a_lease_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    first, second = lease(tmp_path), lease(tmp_path)
    first.take("uid 0, pid 7", "stage", 60.0)
    with pytest.raises(LockedError, match="stage by uid 0, pid 7 is running since 20"):
        second.take("uid 1", "switch", 60.0)
    first.drop()
    second.take("uid 1", "switch", 60.0)
    assert second.fence == 2


def test_a_dead_holder_is_taken_over(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = start_ticks(child.pid)
    assert ticks is not None
    dead = lease(tmp_path, ProcessId(child.pid, ticks, boot_id()))
    dead.take("uid 0", "stage", 3600.0)
    with pytest.raises(LockedError):
        lease(tmp_path).take("uid 1", "stage", 60.0)
    child.communicate()
    heir = lease(tmp_path)
    heir.take("uid 1", "stage", 60.0)
    assert heir.fence == dead.fence + 1
    with pytest.raises(LockedError, match="uid 1 has taken over"):
        dead.check()
    with pytest.raises(LockedError, match="uid 1 has taken over"):
        dead.renew(60.0)


@pytest.mark.parametrize("change", [{"boot": "another"}, {"start_ticks": 1}])
def test_another_boot_and_a_pid_that_was_used_again_are_dead_holders(tmp_path: Path, change: dict[str, object]) -> None:
    mine = this_process()
    lease(tmp_path, replace(mine, **change)).take("uid 0", "stage", 3600.0)  # type: ignore[arg-type]
    lease(tmp_path).take("uid 1", "stage", 60.0)


def test_a_lease_that_ran_out_is_taken_over_and_its_late_holder_cannot_give_it_back(tmp_path: Path) -> None:
    late, next_one = lease(tmp_path), lease(tmp_path)
    late.take("uid 0", "stage", 0.0)
    assert late.overdue
    next_one.take("uid 1", "switch", 60.0)
    late.drop()
    with pytest.raises(LockedError, match="switch by uid 1"):
        lease(tmp_path).take("uid 2", "stage", 60.0)


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"\xff", b'{"owner": 1}'])
def test_a_file_that_is_no_lease_holds_nobody_up(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "claim.json").write_bytes(rubbish)
    taken = lease(tmp_path)
    taken.take("uid 0", "stage", 60.0, least_fence=41)
    assert taken.fence == 42


def test_the_journal_refuses_an_older_fence_than_its_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", Files())
    journal.append("d-1", "CLAIM", "intent", RELEASE, {}, fence=3)
    journal.append("d-2", "WAIT", "intent", RELEASE, {}, fence=4)
    with pytest.raises(LockedError, match="d-1: its claim ran out"):
        journal.append("d-1", "FETCH", "intent", RELEASE, {}, fence=3)
    assert [record.fence for record in Journal(tmp_path / "journal.jsonl", Files()).records] == [3, 4]


def test_no_file_is_written_after_another_agent_took_over(tmp_path: Path) -> None:
    old, new = lease(tmp_path), lease(tmp_path)
    old.take("pid 1", "serve", 0.0)
    files = Files(old.check)
    files.write(tmp_path / "a", b"1")
    new.take("pid 2", "serve", 60.0)
    for change in (
        lambda: files.write(tmp_path / "a", b"2"),
        lambda: files.append(tmp_path / "a", b"2"),
        lambda: files.link(tmp_path / "l", "a"),
        lambda: files.rename(tmp_path / "a", tmp_path / "b"),
        lambda: files.make_folder(tmp_path / "f"),
    ):
        with pytest.raises(LockedError, match="pid 2 has taken over"):
            change()
    assert (tmp_path / "a").read_bytes() == b"1" and not (tmp_path / "l").is_symlink()
