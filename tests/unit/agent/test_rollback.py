"""Rollbacks that must not happen, and what is true after one that went wrong: never a success that was none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.errors import HomeportError
from tests.fakes.docker_rig import DockerRig, image_id
from tests.fakes.rig import Answer, Rig
from tests.fakes.stand_in import StandIn


def two_releases(rig: Rig, **behaviour: object) -> tuple[str, str]:
    """1.0.0 with this behaviour is previous, 1.1.0 drives."""
    one, two = rig.publish("1.0.0", behaviour), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    return one, two


def still_drives(rig: Rig, release: str, pids: dict[str, int | None], answer: Answer, code: int) -> None:
    """What was asked for failed with this code, and the release drives on in the process that it had."""
    assert answer.code == code, answer.document
    status = rig.status()
    assert (status["running"]["digest"], status["current"]["digest"]) == (release, release)
    assert rig.processes() == pids


@pytest.mark.parametrize("part", ["model", "engine", "prove.json", "release.dsse.json", "releases"])
def test_a_target_that_was_broken_before_is_refused_before_anything_stops(rig: Rig, part: str) -> None:
    one, two = two_releases(rig)
    folder, pids = rig.site(one).parent, rig.processes()
    if part == "releases":
        shutil.rmtree(folder)
    elif part in ("model", "engine"):
        shutil.rmtree((folder / part).resolve())
    else:
        (folder / part).unlink()

    answer = rig.run("rollback")

    still_drives(rig, two, pids, answer, 5)
    assert "not complete on this robot" in answer.message


def test_a_target_that_does_not_start_any_more_is_told_apart_from_what_drives(rig: Rig, tmp_path: Path) -> None:
    one, two = two_releases(rig, dies_beside=str(tmp_path / "new-driver"))
    pids = rig.processes()
    (tmp_path / "new-driver").touch()

    answer = rig.run("rollback")

    still_drives(rig, two, pids, answer, 1)
    assert answer.result["failure"]["release"] == one and answer.result["failure"]["metric"] == "process"
    status = rig.status()
    assert status["failure"]["release"] == one and status["restore_failure"] is None
    assert "the camera driver is another one" in " ".join(rig.journal()[-1]["detail"]["log"])
    (tmp_path / "new-driver").unlink()
    assert rig.run("rollback").code == 0, "it was no fault of the release, so it may be tried again"


def test_a_container_of_another_image_is_never_a_success(docker_rig: DockerRig) -> None:
    rig = docker_rig
    _, two = two_releases(rig)
    pids = rig.processes()
    (rig.bin / "run_instead").write_text(image_id("1.1.0").hex)

    answer = rig.run("rollback")

    still_drives(rig, two, pids, answer, 1)
    assert f"runs {image_id('1.1.0')}, expected {image_id('1.0.0')}" in answer.message
    assert rig.journal()[-1]["stage"] == "FAILED"


def test_a_rollback_can_be_rolled_back_any_number_of_times(any_rig: Rig) -> None:
    rig = any_rig
    releases = two_releases(rig)
    rig.cut_off()
    for wanted in (releases[0], releases[1], releases[0]):
        assert rig.run("rollback").code == 0
        status = rig.status()
        assert status["running"]["digest"] == wanted and status["previous"]["digest"] != wanted
        assert status["quarantined"] == []


def test_a_deployment_that_takes_itself_back_leaves_previous_as_it_was(any_rig: Rig) -> None:
    """Or `make rollback` would lead forward, to the release that has just failed elsewhere."""
    rig = any_rig
    one, two = two_releases(rig)
    three = rig.publish("1.2.0")
    assert rig.deploy(three).code == 0 and rig.status()["previous"]["digest"] == two

    assert rig.run("rollback", "--to", two, "--undo").code == 0
    undone = rig.status()
    assert (undone["current"]["digest"], undone["previous"]["digest"]) == (two, one)
    assert rig.run("rollback").result["release"] == one
    assert rig.status()["last"]["stage"] == "COMMIT" and rig.status()["last"]["release"] == one


def test_the_first_release_is_undone_to_none_before_it(rig: Rig) -> None:
    one, two = two_releases(rig)

    assert rig.run("rollback", "--to", one, "--undo").code == 0

    assert rig.status()["previous"] is None and rig.run("rollback").code == 5
    assert rig.deploy(two).code == 0 and rig.status()["previous"]["digest"] == one


def test_who_holds_a_robot_is_named_by_what_it_calls_itself(rig: Rig) -> None:
    one, two = two_releases(rig)
    third = rig.publish("1.2.0")
    assert rig.run("stage", third).code == 0
    assert rig.run("switch", third, "--commit", "wait", "--deadline", "60", "--by", "ann@control-1").code == 0

    refused = rig.run("switch", one, "--by", "bob@control-2")

    assert refused.code == 6 and "switch by ann@control-1 (uid " in refused.message, refused.document
    assert rig.run("rollback").result["release"] == two
    assert rig.status()["last"]["stage"] == "FAILED" and rig.status()["failure"] is None


def state(schema: int, readable_from: int) -> Any:
    def change(fields: dict[str, Any]) -> None:
        fields["state"] = {"schema": schema, "readable_from": readable_from}

    return change


def test_a_release_that_cannot_read_what_a_later_one_left_is_refused_with_both_numbers(rig: Rig) -> None:
    one, two, three = (rig.publish(f"1.{number}.0", change=state(number + 1, max(number, 1))) for number in range(3))
    for release in (one, two, three):
        assert rig.deploy(release).code == 0
    pids = rig.processes()

    answer = rig.run("rollback", "--to", one)

    still_drives(rig, three, pids, answer, 5)
    assert "schema 1 at most" in answer.message and "schema 2 on" in answer.message
    assert rig.run("rollback").code == 0 and rig.status()["running"]["digest"] == two
    assert rig.run("rollback", "--to", one).code == 5, "what 1.2.0 left is still there"


def test_a_release_without_a_way_back_is_refused_before_it_leaves_anything(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    one_way = rig.publish("1.1.0", change=state(5, 5))
    assert rig.run("stage", one_way).code == 0

    answer = rig.run("switch", one_way)

    assert answer.code == 5 and "schema 5 on" in answer.message and "no way back" in answer.message
    between = rig.publish("1.2.0", change=state(5, 0))
    assert rig.deploy(between).code == 0
    assert rig.run("switch", one_way).code == 0


def test_below_the_floor_of_the_counter_there_is_no_way(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    two = rig.publish("1.1.0", change=lambda fields: fields.update(minimum_counter=fields["counter"]))
    for release in (one, two):
        assert rig.deploy(release).code == 0
    pids = rig.processes()

    answer = rig.run("rollback")

    still_drives(rig, two, pids, answer, 5)
    assert "below this robot's floor" in answer.message


@pytest.mark.parametrize(
    ("image", "verb", "moved"),
    [("old", "rollback", False), ("new", "rollback", True), ("staged", "switch", False)],
    ids=["to the only release", "to what the keeper went to", "a switch to it"],
)
def test_what_is_committed_already_is_no_proof_that_its_change_went_well(
    robot: StandIn, image: str, verb: str, moved: bool
) -> None:
    """`current` names the release before anything was renamed, so that it cannot tell a commit from a failure."""
    robot.reset(image)
    robot.power_off()
    agent = robot.boot()
    if moved:
        (robot.site(robot.new).parent / "release.dsse.json").unlink()
        assert agent.keep_until_well("the keeper moves on")["current"]["digest"] == robot.old
        robot.power_off()
    store = agent.host.store
    before = (store.current_slot(), store.current(), store.previous(), store.fallback())

    select = agent.host.supervisor.select

    def lost(*_: object) -> int:
        agent.host.supervisor.select = select  # type: ignore[method-assign]
        raise HomeportError("the supervisor does not answer")

    def lose_the_commit(edge: str) -> None:
        if edge == "COMMIT:intent":
            agent.host.supervisor.select = lost  # type: ignore[method-assign]

    agent.disk.after = lose_the_commit
    where = {"to": "previous" if moved else "fallback", "gate": "idle", "now": False}
    answer = agent.ask("rollback", **where) if verb == "rollback" else agent.switch(robot.old, gate="idle")

    assert answer.result is None and answer.error == "the supervisor does not answer"
    assert robot.journal()[-1]["stage"] == "FAILED" and robot.supervisor.holders == {}
    status = agent.keep_until_well("it is started again")
    assert (status["running"]["digest"], status["stage"]) == (robot.old, "IDLE")
    assert (store.current_slot(), store.current(), store.previous(), store.fallback()) == before
    assert robot.journal()[-1]["stage"] == "FAILED"
    agent.kill()
