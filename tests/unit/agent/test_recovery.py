"""What is decided at a start: every record that can be the last one × every link, and every state of what was
committed.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest

from stack.agent.change.recovery import ANOTHER, ITS_RELEASE, NOTHING, TABLE, decide
from stack.agent.disk.journal import STAGES, STAGING
from stack.agent.machine.child import Program
from stack.agent.machine.processes import remember
from stack.agent.upkeep.keeper import ABSENT, DAMAGED, INTACT, REVOKED, SILENT_S, choose
from tests.fakes.rig import TOP
from tests.fakes.stand_in import StandIn, commit_third

LAST = ("none", "ended", *STAGES)


def wanted(last: str, current: str) -> str:
    """The same said another way: nothing is open, or the rename of a change that had come to SWITCH is there, or it is
    not.
    """
    if last in ("none", "ended"):
        return "nothing"
    driven = last in ("SWITCH", "PROBATION", "VERIFY_ROLLBACK", "COMMIT")
    return "finish" if driven and current == ITS_RELEASE else "close"


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize("current", [ITS_RELEASE, ANOTHER, NOTHING])
def test_every_last_record_has_one_decision(last: str, current: str) -> None:
    row = decide(last, current)
    assert row.decision == wanted(last, current) and row.sentence


def test_no_row_of_the_table_is_never_reached() -> None:
    reached = {decide(last, current) for last in LAST for current in (ITS_RELEASE, ANOTHER, NOTHING)}
    assert reached == set(TABLE)


@pytest.mark.parametrize("states", list(itertools.product((ABSENT, INTACT, REVOKED, DAMAGED), repeat=3)))
def test_the_first_intact_release_runs_else_one_that_is_only_revoked_and_nothing_else(states: tuple[str, ...]) -> None:
    order = ["current", "previous", "fallback"]
    good = [name for wanted in (INTACT, REVOKED) for name, state in zip(order, states, strict=True) if state == wanted]
    assert choose(*states) == (good[0] if good else None)


def test_the_manual_shows_the_table_as_it_is() -> None:
    lines = (TOP / "docs/rollback.md").read_text().splitlines()
    shown = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| `")]
    assert [row for row in shown if len(row) == 4] == [
        (" ".join(f"`{last}`" for last in row.last), row.current, row.decision, row.sentence) for row in TABLE
    ]
    assert set(STAGING) <= {last for row in TABLE for last in row.last}


def damage(robot: StandIn, link: Path) -> None:
    path = link / "release.dsse.json"
    path.write_bytes(path.read_bytes().replace(b"sig", b"gis"))


def test_a_damaged_current_gives_way_to_previous_and_the_status_says_so(robot: StandIn) -> None:
    robot.reset("new")
    robot.power_off()
    damage(robot, robot.layout.current)
    agent = robot.boot()
    status = agent.keep_until_well("previous drives")
    assert status["running"]["digest"] == status["current"]["digest"] == robot.old
    assert not status["healthy"] and any(
        f"previous {robot.old[7:19]} runs instead" in each for each in status["problems"]
    )
    assert status["failure"]["metric"] == "damaged" and status["failure"]["release"] == robot.new
    agent.kill()
    again = robot.boot()
    assert again.keep_until_well("it stays")["problems"] == status["problems"]
    records = len(again.host.journal.records)
    again.kill()
    assert records == len(robot.journal()), "a second start decides nothing new"


def test_a_damaged_current_and_previous_give_way_to_the_fallback(robot: StandIn) -> None:
    robot.reset("new")
    robot.power_off()
    commit_third(robot)
    for link in (robot.layout.current, robot.layout.previous):
        damage(robot, link)
    agent = robot.boot()
    status = agent.keep_until_well("the fallback drives")
    assert status["running"]["digest"] == robot.old and not status["healthy"]
    agent.kill()


def test_with_nothing_intact_nothing_is_started_and_the_status_says_so(robot: StandIn) -> None:
    robot.reset("new")
    robot.power_off()
    for link in (robot.layout.current, robot.layout.previous):
        damage(robot, link)
    agent = robot.boot()
    agent.keeper.keep()
    assert (
        agent.host.work.trouble is not None and "nothing that was committed here can be run" in agent.host.work.trouble
    )
    assert agent.host.runtime.alive("a") is None and agent.host.runtime.alive("b") is None
    agent.kill()


@pytest.mark.parametrize("broken", ["dangling", "nonsense", "gone", "circle"])
def test_a_link_that_leads_nowhere_is_damage(robot: StandIn, broken: str) -> None:
    robot.reset("new")
    robot.power_off()
    robot.layout.current.unlink()
    if broken != "gone":
        robot.layout.current.symlink_to({"nonsense": "slots/c", "circle": "current"}.get(broken, "slots/b"))
    if broken == "dangling":
        robot.layout.slot("b").unlink()
    agent = robot.boot()
    status = agent.keep_until_well("previous drives")
    assert status["running"]["digest"] == robot.old and not status["healthy"]
    agent.kill()


def test_a_slot_that_runs_another_release_than_its_link_is_started_again(robot: StandIn) -> None:
    robot.reset("new")
    first = json.loads(robot.layout.slot_process("b").read_bytes())["pid"]
    robot.until(robot.layout.slot_status("b").exists, "the slot reports")
    robot.layout.slot("b").unlink()
    robot.layout.slot("b").symlink_to(f"../releases/{robot.old[7:]}")
    agent = robot.boot()
    status = agent.keep_until_well("the release of the link drives")
    assert status["running"]["digest"] == robot.old and status["slots"]["b"]["pid"] != first
    agent.kill()


def test_a_slot_that_hangs_is_started_again_and_one_that_is_late_is_not(robot: StandIn) -> None:
    robot.reset("new")
    agent = robot.boot()
    agent.keep_until_well("new drives")
    path = robot.layout.slot_status("b")
    status = json.loads(path.read_bytes())
    agent.runtime.stop("b")
    hung = robot.identity(robot.fork({}))
    remember(robot.layout.slot_process("b"), hung, hung.pid)
    for age_s, same in ((SILENT_S / 2, True), (SILENT_S + 1, False)):
        told = {
            "pid": hung.pid,
            "start_ticks": hung.start_ticks,
            "monotonic_ns": time.monotonic_ns() - int(age_s * 1e9),
        }
        path.write_text(json.dumps({**status, **told}))
        agent.keeper.keep()
        assert (agent.runtime.alive("b") == hung) is same
    assert agent.keep_until_well("it drives again")["running"]["digest"] == robot.new
    agent.kill()


def test_a_robot_that_was_cut_off_waits_to_be_armed(robot: StandIn) -> None:
    robot.reset("new")
    robot.power_off()
    agent = robot.boot()
    agent.keep_until_well("new drives")
    assert not robot.supervisor.armed and "arm" not in robot.supervisor.verbs()
    agent.kill()


def test_a_slot_that_ends_again_and_again_is_started_with_growing_pauses(robot: StandIn) -> None:
    robot.reset("new")
    agent = robot.boot()
    agent.keep_until_well("new drives")
    for _ in range(2):
        agent.host.runtime.stop("b")
        agent.keeper.keep()
    assert agent.host.work.trouble is not None and "next start in" in agent.host.work.trouble
    agent.kill()


def test_a_journal_that_cannot_be_read_stops_nobody(robot: StandIn) -> None:
    robot.reset("new")
    robot.layout.journal.unlink()
    robot.layout.journal.mkdir()
    agent = robot.boot()
    status = agent.keep_until_well("new drives")
    assert status["running"]["digest"] == robot.new and any("journal" in each for each in status["problems"])
    agent.kill()
    robot.layout.journal.rmdir()


def interrupted(robot: StandIn, image: str, edge: str, words: str) -> list[object]:
    """The log that a start keeps of a switch whose agent died at this record, where the candidate's slot wrote
    something.
    """
    robot.reset(image)
    log = robot.layout.slot_log("b" if image == "staged" else "a")
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"an older line\n{words}\n")
    agent = robot.boot()

    def before(found: str) -> None:
        agent.power.dead = found == edge

    agent.disk.before = before
    agent.switch(robot.new) if edge != "VERIFY:done" else agent.stage(robot.publish("1.3.0"))
    agent.kill()
    again = robot.boot()
    again.keep_until_well("it drives")
    last = again.host.journal.records[-1]
    again.kill()
    assert last.stage == "FAILED" and last.detail["recovered"]
    kept = last.detail["log"]
    assert isinstance(kept, list)
    return kept


@pytest.mark.parametrize("edge", ["SWITCH:done", "PROBATION:done", "COMMIT:intent"])
def test_what_a_start_closes_keeps_the_last_words_of_the_candidate(robot: StandIn, edge: str) -> None:
    assert interrupted(robot, "staged", edge, "the camera was lost")[-1:] == ["the camera was lost"]


def test_staging_has_no_slot_and_so_no_log(robot: StandIn) -> None:
    assert interrupted(robot, "staged", "VERIFY:done", "of another release") == []


def test_a_recovery_while_a_release_is_staged_ends_itself_and_not_the_staging(robot: StandIn) -> None:
    robot.reset("new")
    third = robot.publish("1.3.0")
    agent = robot.boot()
    store, fetch = agent.host.store, agent.runtime.device_tool
    rename = store.rename_current

    def with_a_record_of_the_staging(slot: str) -> None:
        assert agent.host.work.active is not None
        agent.host.work.active.finish(bytes=0)
        rename(slot)

    def lose_current(*words: str) -> Program:
        agent.runtime.device_tool = fetch  # type: ignore[method-assign]
        robot.power_off()
        damage(robot, robot.layout.current)
        agent.keeper.keep()
        return fetch(*words)

    store.rename_current = with_a_record_of_the_staging  # type: ignore[method-assign]
    agent.runtime.device_tool = lose_current  # type: ignore[method-assign]
    staged = agent.stage(third)
    assert staged.result is not None and staged.result["stage"] == "READY", staged
    recovery = [each for each in robot.journal() if each["deployment"].startswith("recovery-")]
    assert [f"{each['stage']}:{each['phase']}" for each in recovery] == ["ROLLBACK:intent", "FAILED:done"]
    assert agent.stage(f"sha256:{'0' * 64}").error, "another failure, which is newer"
    status = agent.keep_until_well("previous drives")
    assert status["running"]["digest"] == robot.old
    assert any(f"previous {robot.old[7:19]} runs instead" in each for each in status["problems"])
    agent.kill()


@pytest.mark.parametrize("name", ["floor", "quarantine"])
def test_a_document_of_the_store_that_is_damaged_is_told_with_what_to_do(robot: StandIn, name: str) -> None:
    robot.reset("new")
    path: Path = getattr(robot.layout, name)
    path.write_bytes(b'{"releases": [')
    agent = robot.boot()
    status = agent.keep_until_well("new drives")
    assert any(f"{path}: damaged" in each and "move it away" in each for each in status["problems"])
    answer = agent.rollback()
    assert answer.result is None and "move it away" in (answer.error or "")
    path.unlink()
    assert agent.keep_until_well("new drives")["healthy"]
    agent.kill()
