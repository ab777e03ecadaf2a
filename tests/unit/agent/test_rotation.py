"""A long journal is shortened at rest, and nothing that anybody reads is lost by it: not by a power cut, a full disk or
a failing one.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.files import Files
from stack.agent.api.status import last_failure
from stack.agent.disk.journal import KEPT_DEPLOYMENTS, MOST_BYTES, RECOVERY, Journal, kept
from tests.fakes.disk import write_image
from tests.fakes.schemas import check
from tests.fakes.stand_in import Agent, StandIn

RELEASE = Digest.of(b"release")
FAILURE = {"failure": {"message": "it was too slow"}, "log": ["the last words"]}
LIMIT, CHANGES = 160_000, 120


def change(journal: Journal, name: str, end: str = "READY", size: int = 1000, fence: int | None = None) -> None:
    """A deployment from its first record to its last one."""
    journal.append(name, "CLAIM", "intent", RELEASE, {}, fence)
    journal.append(name, "FETCH", "done", RELEASE, {"padding": "x" * size})
    journal.append(name, end, "done", RELEASE, FAILURE if end == "FAILED" else {})


def long_journal(path: Path, files: Files | None = None, changes: int = CHANGES) -> Journal:
    """The only failure, then stagings that went well and say nothing of what drives."""
    journal = Journal(path, files or Files())
    change(journal, "bad", "FAILED", fence=7)
    for number in range(changes):
        change(journal, f"d-{number}", fence=8 + number)
    journal.most_bytes = LIMIT
    return journal


def told(journal: Journal) -> tuple[object, ...]:
    """What anybody asks of a journal that is at rest."""
    ended = [record for record in journal.records if record.decides][-1]
    return journal.fence, journal.next_seq, journal.open_record(), ended, len(journal.damaged), journal.records[-1]


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_is_asked_of_a_journal_is_the_same_after_it_was_shortened(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = long_journal(path)
    before, size, all_lines = told(journal), path.stat().st_size, lines(path)

    journal.rotate()

    assert told(journal) == before and path.stat().st_size <= LIMIT // 2 < size
    again = Journal(path, Files())
    assert again.records == journal.records and told(again) == before
    assert sorted([*lines(path), *lines(tmp_path / "journal.1.jsonl")]) == sorted(all_lines)
    names = {record.deployment for record in journal.records}
    assert names == {"bad", *(f"d-{CHANGES - back}" for back in range(1, KEPT_DEPLOYMENTS + 1))}
    for line in lines(path):
        check(json.loads(line), "journal")


def test_the_last_damage_of_the_store_stays_however_many_changes_came_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, Files())
    change(journal, f"{RECOVERY}1", "FAILED")
    change(journal, f"{RECOVERY}4", "FAILED")
    change(journal, "late", "FAILED")
    for number in range(CHANGES):
        change(journal, f"d-{number}")
    journal.most_bytes = LIMIT

    journal.rotate()

    assert {f"{RECOVERY}4", "late"} < (names := {record.deployment for record in journal.records})
    assert f"{RECOVERY}1" not in names


def test_the_next_rotation_replaces_what_was_taken_out_and_numbers_go_on(tmp_path: Path) -> None:
    path, out = tmp_path / "journal.jsonl", tmp_path / "journal.1.jsonl"
    journal = long_journal(path)
    journal.rotate()
    first = lines(out)
    for number in range(CHANGES, 2 * CHANGES):
        change(journal, f"d-{number}")

    journal.rotate()

    assert not set(first) & {*lines(out), *lines(path)}
    seqs = [json.loads(line)["seq"] for line in [*lines(out), *lines(path)]]
    assert len(set(seqs)) == len(seqs) and max(seqs) == 3 * (2 * CHANGES + 1) == journal.next_seq - 1
    assert sorted(each.name for each in tmp_path.iterdir()) == [out.name, path.name]


@pytest.mark.parametrize("reason", ["short", "open", "damaged-tail"])
def test_nothing_is_touched_where_it_is_not_long_or_not_at_rest(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    journal = long_journal(path)
    if reason == "short":
        journal.most_bytes = MOST_BYTES
    if reason == "open":
        journal.append("d-now", "SWITCH", "intent", RELEASE, {})
    if reason == "damaged-tail":
        path.write_bytes(path.read_bytes()[:-5] + b"/////")
    before = path.read_bytes()

    journal.rotate()

    assert path.read_bytes() == before and not path.with_suffix(".1.jsonl").exists()


def test_damaged_lines_stay_where_the_status_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    long_journal(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"CLAIM"', b'"CLAIN"', 2))
    journal = Journal(path, Files())
    journal.most_bytes = LIMIT
    assert journal.damaged == [1, 4]

    journal.rotate()

    assert len(journal.damaged) == 2 and len(Journal(path, Files()).damaged) == 2


def test_where_nothing_would_be_gained_it_is_tried_again_when_the_journal_has_doubled(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, Files())
    change(journal, "huge", "FAILED", 2 * LIMIT)
    journal.most_bytes = LIMIT
    journal.rotate()
    assert journal.most_bytes == 2 * path.stat().st_size and not path.with_suffix(".1.jsonl").exists()


def test_the_last_deployments_have_to_fit_as_well() -> None:
    journal_lines: list[bytes] = []

    class Collected(Files):
        def append(self, path: Path, data: bytes) -> None:
            journal_lines.append(data[:-1])

    journal = Journal(Path("nowhere"), Collected())
    for number in range(10):
        change(journal, f"d-{number}", "COMMIT")
    room = sum(len(line) + 1 for line in journal_lines[-9:])
    assert kept(journal_lines, room) == journal_lines[-9:]
    assert kept(journal_lines, room - 1) == journal_lines[-6:]


class Failing(Files):
    """A disk that takes so many files, and then fails at `fault`: the bytes, or the sync of the folder after the
    rename.
    """

    fault, left = "", 0

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[Path] = []

    def _due(self, fault: str) -> None:
        if self.fault == fault:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC if fault == "full" else errno.EIO, fault)

    def _create(self, path: Path, pieces: Iterable[bytes], mode: int) -> None:
        super()._create(path, pieces, mode)
        self._due("full")

    def sync(self, path: Path) -> None:
        super().sync(path)
        self.synced.append(path)
        if path.is_dir():
            self._due("folder")


@pytest.mark.parametrize("fault", ["full", "folder"])
@pytest.mark.parametrize("at", [1, 2], ids=["the part taken out", "the journal"])
def test_a_disk_that_does_not_take_it_costs_no_record(tmp_path: Path, fault: str, at: int) -> None:
    path, files = tmp_path / "journal.jsonl", Failing()
    journal = long_journal(path, files)
    before = told(journal)
    files.fault, files.left = fault, at

    with pytest.raises(OSError):
        journal.rotate()

    assert told(journal) == before == told(Journal(path, Files()))
    files.synced.clear()
    change(journal, "later")
    assert told(journal) == told(Journal(path, Files())) and not list(tmp_path.glob(".*"))
    assert files.synced[0] == tmp_path, "a rename that was not synced is, before the first record in the new file"


def grown(robot: StandIn) -> Agent:
    """The agent of a robot with a long journal, whose last change failed."""
    robot.reset("new")
    agent = robot.boot()
    journal = agent.host.journal
    for number in range(30):
        change(journal, f"d-{number}", "FAILED" if number == 20 else "READY", size=600)
    journal.most_bytes = 30_000
    return agent


def test_every_state_that_a_power_cut_leaves_of_a_rotation_boots_well(robot: StandIn) -> None:
    agent = grown(robot)
    before, failure = told(agent.host.journal), last_failure(agent.host)
    agent.disk.recording = True
    agent.keeper.keep()
    assert robot.layout.journal.stat().st_size < 15_000
    states = [image for images in agent.disk.states.values() for image in images.values()]
    agent.kill()
    assert len({image["journal.jsonl"] for image in states}) == 2 and len(states) >= 6
    for image in states:
        robot.power_off()
        write_image(robot.root, image)
        again = robot.boot()
        assert told(again.host.journal) == before and last_failure(again.host) == failure
        status = again.keep_until_well("new drives")
        assert status["running"]["digest"] == robot.new and status["log"] == ["the last words"]
        assert told(again.host.journal) == before, "a start changed something"
        assert not list(robot.root.glob(".*.tmp"))
        again.kill()


def test_a_rotation_without_a_sync_would_lose_records(robot: StandIn) -> None:
    agent = grown(robot)
    before = told(agent.host.journal)
    agent.disk.recording = agent.disk.forgetful = True
    agent.keeper.keep()
    states = [image for images in agent.disk.states.values() for image in images.values()]
    agent.kill()
    lost = 0
    for number, image in enumerate(states):
        path = robot.root.parent / f"lost-{number}.jsonl"
        content = image.get("journal.jsonl", ("file", b""))[1]
        assert isinstance(content, bytes)
        path.write_bytes(content)
        found = Journal(path, Files())
        lost += not found.records or told(found) != before
    assert lost > 0


def test_a_release_can_be_changed_right_after_a_rotation(robot: StandIn) -> None:
    agent = grown(robot)
    fence = agent.host.journal.fence
    agent.keeper.keep()
    assert agent.rollback().result and agent.host.journal.fence > fence
    seqs = [record.seq for record in agent.host.journal.records]
    agent.kill()
    assert seqs == sorted(set(seqs)) and str(robot.layout.current.resolve().name) == robot.old[7:]
