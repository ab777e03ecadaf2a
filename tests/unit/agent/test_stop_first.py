"""Robots without room for two policies: the old release ends before the new one starts, under hold, and comes back when
that fails.

The fake policies of these tests do not start while the other slot has a live process.
"""

from __future__ import annotations

from typing import Any

import pytest

from stack.agent.change.cutover import room
from tests.fakes.rig import Answer, Rig

HUGE = 1 << 46
"""Bytes that no machine of ours has."""


def publish(rig: Rig, version: str, peak: int = HUGE, **behaviour: object) -> str:
    def budget(fields: dict[str, Any]) -> None:
        fields["engine"]["budget"]["peak_memory_bytes"] = 8 << 50

    all_of_it = {"alone": True, "memory_bytes": HUGE, "peak_memory_bytes": peak, **behaviour}
    return rig.publish(version, all_of_it, change=budget)


def deploy_first(rig: Rig) -> str:
    one = publish(rig, "1.0.0")
    assert rig.deploy(one).code == 0
    rig.supervisor.requests.clear()
    return one


def back_on(rig: Rig, release: str, answer: Answer) -> None:
    """The release drives again, verified and not held, after a change that says how it failed."""
    assert answer.code == 1 and answer.result["cutover"] == "stop-first"
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == release
    assert rig.status()["restore_failure"] is None and rig.supervisor.holders == {}


@pytest.mark.parametrize(
    ("free", "memory_mib", "taken", "left"),
    [
        (900 << 20, None, 300 << 20, 900 << 20),
        (900 << 20, 500, 300 << 20, 200 << 20),
        (100 << 20, 500, 300 << 20, 100 << 20),
        (None, 500, 0, 500 << 20),
        (None, None, 0, None),
    ],
)
def test_room_is_the_smaller_of_what_is_available_and_what_the_robot_allows(
    free: int | None, memory_mib: int | None, taken: int, left: int | None
) -> None:
    assert room(free, memory_mib, taken) == left


def test_with_room_for_two_nobody_is_held(rig: Rig) -> None:
    assert rig.deploy(rig.publish("1.0.0")).result["cutover"] is None
    assert rig.deploy(rig.publish("1.1.0")).result["cutover"] == "two-slot"
    assert "hold" not in rig.supervisor.verbs()


def test_without_room_the_old_release_ends_first_and_the_robot_is_held_meanwhile(rig: Rig) -> None:
    deploy_first(rig)
    two = publish(rig, "1.1.0")

    answer = rig.deploy(two)

    assert answer.code == 0, answer.document
    assert answer.result["cutover"] == "stop-first" and "to make room (stop-first)" in answer.stderr
    assert rig.supervisor.verbs()[:3] == ["hold", "select", "unhold"] and rig.supervisor.holders == {}
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == two
    intents = {each["stage"]: each["detail"] for each in rig.journal() if each["phase"] == "intent"}
    assert intents["WAIT"]["cutover"] == "stop-first" and intents["SWITCH"]["fallback"] is None


@pytest.mark.parametrize("fault", [{"die_after_s": 0.3}, {"p99_ms": 900.0}])
def test_a_candidate_that_does_not_become_healthy_makes_room_for_the_old_release(
    rig: Rig, fault: dict[str, object]
) -> None:
    one = deploy_first(rig)

    answer = rig.deploy(publish(rig, "1.2.0", **fault))

    back_on(rig, one, answer)
    assert answer.result["failure"]["stage"] == "WAIT"


def test_a_candidate_that_fails_on_probation_makes_room_for_the_old_release(rig: Rig) -> None:
    one = deploy_first(rig)
    bad = publish(rig, "1.2.0")
    rig.supervisor.revert_after_s[bad] = 0.2

    answer = rig.deploy(bad)

    back_on(rig, one, answer)
    assert (answer.result["failure"]["stage"], answer.result["failure"]["metric"]) == ("PROBATION", "limited")


def test_without_a_commit_the_old_release_comes_back(rig: Rig) -> None:
    one = deploy_first(rig)

    assert rig.deploy(publish(rig, "1.1.0"), "--commit", "wait", "--deadline", "1").code == 0

    rig.until(lambda: rig.status()["stage"] == "IDLE", "the deadline passed")
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == one
    assert rig.supervisor.holders == {}


def test_a_rollback_also_stops_first_and_can_be_undone(rig: Rig) -> None:
    one = deploy_first(rig)
    two = publish(rig, "1.1.0")
    rig.deploy(two)

    answer = rig.run("rollback")

    assert answer.code == 0, answer.document
    assert (answer.result["release"], answer.result["cutover"]) == (one, "stop-first")
    assert rig.supervisor.holders == {} and rig.run("rollback").result["release"] == two


def test_a_moving_robot_is_refused_before_anything_stops(rig: Rig) -> None:
    deploy_first(rig)
    pids = rig.processes()

    answer = rig.deploy(publish(rig, "1.1.0"), "--gate", "moving")

    assert answer.code == 5 and "leave out --gate moving" in answer.message
    assert rig.processes() == pids and rig.supervisor.verbs() == []


def test_a_release_that_does_not_even_fit_alone_is_refused_before_anything_stops(rig: Rig) -> None:
    deploy_first(rig)
    pids = rig.processes()

    answer = rig.deploy(publish(rig, "1.1.0", peak=4 * HUGE))

    assert answer.code == 5 and "deploy a smaller model" in answer.message
    assert rig.processes() == pids and rig.supervisor.verbs() == []


def test_an_agent_killed_between_the_two_comes_back_on_the_old_release(rig: Rig) -> None:
    one = deploy_first(rig)
    rig.deploy(publish(rig, "1.1.0"), "--commit", "wait", "--deadline", "60")
    rig.stop_agent(kill=True)

    rig.start_agent()

    rig.until(lambda: rig.run("status").code == 0, "the old release drives again")
    assert rig.status()["running"]["digest"] == one and rig.processes()["b"] is None
