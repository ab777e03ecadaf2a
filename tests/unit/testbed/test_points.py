"""The points of bench robots cover every edge, and a robot that ends on something else than it may, or says nothing of
it, is found.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.fault_matrix_docker import BENCH, QUICK, Played
from tests.bench.harness import Trials
from tests.testbed.bench.points import FAULTS, PLAYED, Change, Outcome, Seen, faults, points
from tests.testbed.scenarios import SCENARIOS, Point

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
POINTS = points()
FAILURE = {"release": NEW, "stage": "SWITCH", "message": "the agent was interrupted in SWITCH", "metric": "interrupted"}
SWITCH = Change(Point("switch", "SWITCH:done", "kill_before"), OLD, NEW)


def record(stage: str, phase: str = "done", release: str = NEW, **detail: object) -> dict[str, Any]:
    return {"stage": stage, "phase": phase, "release": release, "detail": detail}


def container(release: str, image: str = "sha256:image") -> dict[str, Any]:
    return {"Name": "/homeport-slot-a", "Image": image, "Config": {"Env": [f"HOMEPORT_RELEASE={release}"]}}


def back_on(drives: str, *records: dict[str, Any]) -> Seen:
    """A robot that is well."""
    failure = records[-1]["detail"].get("failure")
    status = {"running": {"digest": drives}, "current": {"digest": drives}, "failure": failure, "restore_failure": None}
    supervisor = {"selected": {"slot": "a", "release": drives}, "armed": False, "held": False, "holders": []}
    images = dict.fromkeys((OLD, NEW), "sha256:image")
    return Seen(status, list(records), supervisor, [container(drives)], images)


WELL = back_on(OLD, record("WAIT", "intent"), record("FAILED", failure=FAILURE))


def test_every_edge_and_every_fault_is_among_the_points() -> None:
    assert len(POINTS) >= 40 and len(set(POINTS)) == len(POINTS)
    assert {point.fault for point in POINTS} == set(FAULTS)
    edges = {(name, edge) for name in PLAYED for edge in SCENARIOS[name].edges}
    assert {(point.scenario, point.edge) for point in POINTS} == edges
    assert set(QUICK) <= set(POINTS)


def test_a_robot_that_is_back_on_the_old_release_and_says_why_is_right() -> None:
    assert list(faults(SWITCH, WELL, succeeded=False)) == []


@pytest.mark.parametrize(
    ("bent", "word"),
    [
        (back_on(NEW, record("COMMIT")), "drives, and only"),
        (replace(WELL, status={**WELL.status, "current": {"digest": NEW}}), "current names another"),
        (replace(WELL, supervisor={**WELL.supervisor, "selected": None}), "the supervisor follows None"),
        (replace(WELL, supervisor={**WELL.supervisor, "armed": True}), "armed the robot"),
        (replace(WELL, supervisor={**WELL.supervisor, "holders": [{"owner": "x"}]}), "still held"),
        (replace(WELL, containers=[]), "0 slots have a container"),
        (replace(WELL, containers=[container(OLD), container(NEW)]), "2 slots have a container"),
        (replace(WELL, containers=[container(OLD, "sha256:other")]), "runs the image sha256:other"),
        (replace(WELL, containers=[container(NEW)]), "started for another release"),
        (replace(WELL, records=[]), "says nothing of the change"),
        (replace(WELL, records=[record("WAIT", "intent")]), "still open"),
        (back_on(OLD, record("FAILED", failure=None)), "without a word why"),
        (replace(WELL, status={**WELL.status, "failure": None}), "tells of another failure"),
        (back_on(OLD, record("FAILED", release=OLD, failure=FAILURE)), "about another release"),
        (back_on(OLD, record("COMMIT")), "another release was committed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_must_not_be_is_named(bent: Seen, word: str) -> None:
    assert word in "; ".join(faults(SWITCH, bent, succeeded=False))


@pytest.mark.parametrize(
    ("scenario", "edge", "fault", "succeeded", "allowed"),
    [
        ("stage", "READY:done", "source_cut", True, {OLD}),
        ("bad", "FAILED:done", "kill_after", True, {OLD}),
        ("switch", "COMMIT:intent", "kill_after", False, {OLD}),
        ("switch", "COMMIT:intent", "docker_stopped", False, {OLD, NEW}),
        ("switch", "COMMIT:intent", "docker_stopped", True, {NEW}),
        ("switch", "COMMIT:done", "power_cut_before", None, {NEW}),
        ("switch", "WAIT:intent", "docker_stopped", None, {OLD, NEW}),
        ("switch", "WAIT:intent", "docker_stopped", False, {OLD}),
        ("switch", "WAIT:intent", "kill_after", None, {OLD}),
        ("bad", "ROLLBACK:intent", "docker_stopped", None, {OLD}),
        ("rollback", "SWITCH:done", "disk_full", False, {OLD}),
    ],
)
def test_nothing_but_a_durable_commit_makes_it_the_target(
    scenario: str, edge: str, fault: str, succeeded: bool | None, allowed: set[str]
) -> None:
    assert Change(Point(scenario, edge, fault), OLD, NEW).allowed(succeeded) == allowed


def test_a_second_start_goes_on_where_the_first_was_ended(tmp_path: Path) -> None:
    wanted = list(QUICK)
    first = Played(wanted, Trials(BENCH, folder=tmp_path))
    point = first.take(lambda each: each.scenario == "bad")
    assert point is not None
    first.add(Outcome(point, fired=True, ended="old", why="FAILED", seconds=1.5))

    again = Played(wanted, Trials(BENCH, folder=tmp_path))
    assert [(each.point, each.ok) for each in again.outcomes] == [(point, True)]
    assert again.take(lambda each: each == point) is None
    assert Played(wanted, Trials(BENCH, fresh=True, folder=tmp_path)).take(lambda each: each == point) == point
