"""What an operator sees of a robot beside what runs, and whether it could go back now."""

from __future__ import annotations

import shutil
import time

import pytest

from stack.agent.cli.output import condition_lines, motion_line
from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import Rig


def two_releases(rig: Rig) -> tuple[str, str]:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    return one, two


def test_a_status_says_whether_the_robot_may_move_and_who_holds_it(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    assert rig.run("hold", "--reason", "the floor is wet").code == 0
    rig.supervisor.latched = ["estop"]

    motion = rig.status()["motion"]

    assert motion["held"] == [{"owner": "homeport-agent hold", "reason": "the floor is wet"}]
    assert motion["stopped_by"] == ["estop"]
    assert "(held by homeport-agent hold: the floor is wet; estop)" in motion_line(motion)


def test_a_robot_without_a_supervisor_says_nothing_of_its_motion() -> None:
    assert motion_line(None) == "nobody says whether it may move"


def test_a_robot_that_could_not_go_back_is_healthy_and_ends_with_three(rig: Rig) -> None:
    one, _ = two_releases(rig)
    assert rig.run("status").code == 0 and rig.status()["way_back"] == {"release": one, "reason": None}
    shutil.rmtree(rig.site(one).parent)

    answer = rig.run("status")

    assert (answer.code, answer.result["healthy"], answer.result["problems"]) == (3, True, [])
    assert "not complete on this robot" in answer.result["way_back"]["reason"]
    assert "error" not in answer.stderr and "could not be rolled back now" in answer.stderr


def test_while_a_release_is_on_probation_the_way_back_is_what_drove_before(rig: Rig) -> None:
    _, two = two_releases(rig)
    rig.deploy(rig.publish("1.2.0"), "--commit", "wait", "--deadline", "60")

    assert rig.status()["way_back"] == {"release": two, "reason": None}
    assert rig.run("rollback").code == 0


def test_a_robot_with_one_release_has_nothing_to_go_back_to_and_that_is_no_fault(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))

    status = rig.status()

    assert status["way_back"] == {"release": None, "reason": None}
    assert status["engine"] is None and status["disk"]["free_bytes"] > 0 and status["clock"]["stands"]


def freeze_docker(rig: DockerRig) -> None:
    """From now on it takes requests and answers none."""
    (rig.bin / "docker").unlink()
    (rig.bin / "docker").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (rig.bin / "docker").chmod(0o755)


def test_a_frozen_docker_is_named_within_seconds_and_is_to_be_started_again(docker_rig: DockerRig) -> None:
    rig = docker_rig
    two_releases(rig)
    assert rig.status()["engine"] == {"alive": True, "trouble": None}
    freeze_docker(rig)
    began = time.monotonic()

    answer = rig.run("status")

    assert time.monotonic() - began < 15.0, "it was asked once, and not for every release"
    trouble = answer.result["engine"]["trouble"]
    assert answer.code == 3 and not answer.result["engine"]["alive"]
    assert "no answer within 3 s; its daemon hangs; restart it (systemctl restart containerd docker)" in trouble
    assert answer.result["way_back"]["reason"] == trouble
    assert not any("missing" in problem for problem in answer.result["problems"])


def test_beside_a_frozen_docker_no_image_is_said_to_be_missing(docker_rig: DockerRig) -> None:
    """Staging it again would not help, and starting Docker again does."""
    rig = docker_rig
    one, _ = two_releases(rig)
    rig.wait_copied(one)
    rig.copy_of(one).unlink()
    pids = rig.processes()
    freeze_docker(rig)
    rig.run("status")

    answer = rig.run("rollback")

    assert answer.code == 5 and "restart it (systemctl restart containerd docker)" in answer.message
    assert "stage it again" not in answer.message and rig.processes() == pids


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, "disk      /var/lib/homeport: 9216 MiB free"),
        ({"engine": {"alive": True, "trouble": None}}, "engine    answers"),
        ({"clock": {"stands": "2026", "doubt": "nothing keeps it right"}}, "clock     nothing keeps it right"),
        ({"way_back": {"release": None, "reason": "its image is gone"}}, "way back  none now: its image is gone"),
    ],
)
def test_people_read_it_in_a_line_each(changes: dict[str, object], row: str) -> None:
    status: dict[str, object] = {
        "disk": {"folder": "/var/lib/homeport", "free_bytes": 9 << 30, "shortage": None},
        "engine": None,
        "clock": {"stands": "2026-11-30 10:00 UTC", "doubt": None},
        "way_back": {"release": None, "reason": None},
    }

    assert row in condition_lines(status | changes)
