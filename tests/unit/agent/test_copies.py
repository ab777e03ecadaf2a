"""What the image store lost or damaged comes back from the copy that the robot kept, with both runtimes and without a
source.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fakes.docker_rig import DockerRig, image_id, manifest_of
from tests.fakes.rig import Rig
from tests.fakes.schemas import check

HARMS = ("lose_image", "damage_image")


def two_releases(rig: Rig) -> tuple[str, str]:
    """1.0.0, which is previous and fallback and has a copy, and 1.1.0, which drives."""
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    rig.wait_copied(one)
    return one, two


@pytest.mark.parametrize("harm", HARMS)
def test_a_rollback_brings_it_back_without_a_source(any_rig: Rig, harm: str) -> None:
    rig = any_rig
    one, _ = two_releases(rig)
    rig.cut_off()
    getattr(rig, harm)(one)

    answer = rig.run("rollback")

    assert answer.code == 0, answer.document
    assert (answer.result["bytes_fetched"], answer.result["engines_built"]) == (0, 0)
    assert rig.status()["running"]["digest"] == one


@pytest.mark.parametrize("harm", HARMS)
def test_an_agent_that_starts_brings_it_back_for_the_current_release(any_rig: Rig, harm: str) -> None:
    rig = any_rig
    one = rig.publish("1.0.0")
    rig.deploy(one)
    rig.wait_copied(one)
    rig.cut_off()
    end_all(rig, "a")
    getattr(rig, harm)(one)

    rig.start_agent()

    rig.until(lambda: rig.run("status").code == 0, "the release drives again")
    assert rig.status()["running"]["digest"] == one


def end_all(rig: Rig, slot: str) -> None:
    """The agent and what it keeps running."""
    rig.stop_agent(kill=True)
    os.kill(int(json.loads(rig.layout.slot_process(slot).read_bytes())["host_pid"]), 9)


def wait_device_copied(rig: DockerRig) -> None:
    """After this the agent makes containers for nobody but what it starts."""
    rig.until((rig.layout.images / f"{manifest_of('device').hex}.json").exists, "the device's image was copied")


def until_runs(rig: Rig, release: str) -> str:
    """Wait until it drives; what the status says is wrong then."""
    rig.until(lambda: (rig.status()["running"] or {}).get("digest") == release, f"{release} drives")
    return "; ".join(rig.status()["problems"])


def test_a_current_that_docker_damaged_gives_way_to_previous_when_docker_makes_others(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    rig.cut_off()
    wait_device_copied(rig)
    end_all(rig, "b")
    (rig.bin / "create_error").write_text("Error response from daemon: cgroups: no container can be made now")
    before = len(rig.calls("docker", "container", "create"))

    rig.start_agent()

    rig.until(lambda: len(rig.calls("docker", "container", "create")) > before + 2, "previous was tried too")
    assert rig.status()["current"]["digest"] == two
    rig.damage_image(two)
    (rig.bin / "create_error").unlink()
    said = until_runs(rig, one)
    assert "current: release 1.1.0: its image: damaged" in said and f"{one[7:19]} runs instead" in said
    assert rig.status()["failure"]["metric"] == "damaged" and rig.status()["quarantined"] == []


def test_a_docker_that_fails_for_a_moment_moves_no_robot_off_its_release(docker_rig: DockerRig) -> None:
    rig = docker_rig
    _, two = two_releases(rig)
    wait_device_copied(rig)
    end_all(rig, "b")
    (rig.bin / "create_error_once").write_text("Error response from daemon: cgroups: busy")

    rig.start_agent()

    until_runs(rig, two)
    assert not (rig.bin / "create_error_once").exists()


def test_a_previous_that_does_not_come_back_either_gives_way_to_the_fallback(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    rig.deploy(three := rig.publish("1.2.0"))
    rig.wait_copied(two)
    end_all(rig, "a")
    for release in (two, three):
        rig.damage_image(release)
    rig.copy_of(two).write_bytes(rig.copy_of(two).read_bytes()[::-1])

    rig.start_agent()

    said = until_runs(rig, one)
    assert "current: release 1.2.0: its image: damaged" in said and f"previous: {rig.copy_of(two)}" in said
    assert f"fallback {one[7:19]} runs instead" in said


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_copy_is_no_way_back_and_nothing_stops(any_rig: Rig, harm: str) -> None:
    rig = any_rig
    one, two = two_releases(rig)
    copy = rig.copy_of(one)
    if isinstance(rig, DockerRig):
        getattr(rig, harm)(one)
    else:  # without a wheel to compare with, code that is damaged cannot be told from code that is whole
        rig.lose_image(one)
    copy.write_bytes(bytes([copy.read_bytes()[0] ^ 1]) + copy.read_bytes()[1:])
    pids = rig.processes()

    answer = rig.run("rollback")

    assert answer.code == 5, answer.document
    assert rig.processes() == pids and rig.status()["running"]["digest"] == two
    assert not copy.exists(), "the next copy is made anew"


def test_a_damaged_copy_stops_no_release_that_is_whole(any_rig: Rig) -> None:
    rig = any_rig
    one, _ = two_releases(rig)
    rig.copy_of(one).write_bytes(b"torn")

    assert rig.run("rollback").code == 0
    assert rig.status()["running"]["digest"] == one


def test_staging_again_takes_the_copy_before_the_source(any_rig: Rig) -> None:
    rig = any_rig
    one, _ = two_releases(rig)
    rig.cut_off()
    rig.lose_image(one)

    answer = rig.run("stage", one)

    assert answer.code == 0 and not answer.result["changed"]


def test_without_a_copy_staging_fetches_what_is_damaged(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    rig.damage_image(two)

    assert rig.run("stage", two, "--retry").code == 5, "it drives: Docker does not let go of its image"
    assert rig.run("rollback").code == 0
    assert rig.run("stage", two).code == 0
    assert len(rig.calls("docker", "pull")) == 3
    assert rig.run("switch", two).code == 0
    assert rig.status()["previous"]["digest"] == one


def test_copies_are_of_what_the_robot_goes_back_to_and_of_its_own_image(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    rig.run("stage", rig.publish("1.2.0"))
    wait_device_copied(rig)

    assert {path.stem for path in rig.layout.images.glob("*.tar")} == {rig.copy_of(one).stem, manifest_of("device").hex}
    for path in rig.layout.images.glob("*.json"):
        check(json.loads(path.read_bytes()), "archive")
    assert not rig.copy_of(two).exists()


def test_the_device_s_own_image_comes_back_with_the_release(docker_rig: DockerRig) -> None:
    rig = docker_rig
    two_releases(rig)
    wait_device_copied(rig)
    rig.forget_image("device")

    assert rig.run("rollback").code == 0
    assert (rig.bin / "images" / image_id("device").hex).exists()
    assert (rig.bin / "tags" / f"homeport+pin:{manifest_of('device').hex}").exists()
    assert rig.run("stage", rig.publish("1.2.0")).code == 0


def test_a_copy_that_was_cut_off_is_made_by_the_next_agent(docker_rig: DockerRig) -> None:
    rig = docker_rig
    (rig.bin / "slow_save").touch()
    one = rig.publish("1.0.0")
    rig.deploy(one)
    rig.until((rig.bin / "slow_save.seen").exists, "the copy has begun")
    rig.stop_agent(kill=True)
    (rig.bin / "slow_save").unlink()
    assert not rig.copy_of(one).exists()

    rig.start_agent()

    rig.wait_copied(one)
    assert sorted(path.suffix for path in rig.layout.images.glob(f"*{rig.copy_of(one).stem}*")) == [".json", ".tar"]


def test_every_staged_image_is_pinned_against_prune(docker_rig: DockerRig) -> None:
    rig = docker_rig
    rig.run("stage", rig.publish("1.0.0"))

    image = manifest_of("1.0.0").hex
    assert (rig.bin / "tags" / f"homeport+pin:{image}").read_text() == str(image_id("1.0.0"))
    assert [path.read_text() for path in (rig.bin / "created").iterdir()] == [f"dev.homeport.pin={image}"]


def test_a_docker_that_could_not_look_found_no_damaged_image(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    for words in ("mkdir /var/lib/docker/overlay2/2: no space left on device", "error during connect: Post x: EOF"):
        (rig.bin / "create_error").write_text(words)

        answer = rig.run("rollback")

        assert answer.code == 1 and words in answer.message
        assert rig.calls("docker", "image", "rm") == [] and rig.calls("docker", "load") == []
        assert rig.status()["running"]["digest"] == two
    (rig.bin / "create_error").unlink()
    assert rig.run("rollback").code == 0 and rig.status()["running"]["digest"] == one


def test_an_archive_that_loads_as_another_image_is_refused(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    rig.lose_image(one)
    (rig.bin / "load_another").touch()

    answer = rig.run("rollback")

    assert answer.code == 5 and "does not come back" in answer.message
    assert rig.status()["running"]["digest"] == two


def test_an_interrupted_unpacking_is_begun_again(rig: Rig) -> None:
    one, _ = two_releases(rig)
    rig.lose_image(one)
    (rig.site(one).parent / ".site.new/stack").mkdir(parents=True)

    assert rig.run("rollback").code == 0
    assert not list(rig.site(one).parent.glob(".site.*"))


def test_an_agent_of_low_priority_asks_for_no_higher_one(rig: Rig) -> None:
    rig.stop_agent()
    rig.layout.reserve.unlink(missing_ok=True)
    rig.start_agent("nice", "-n", "19")
    rig.until(rig.layout.reserve.exists, "the thread that makes copies works")

    assert rig.agent is not None
    stats = [path.read_text() for path in Path(f"/proc/{rig.agent.pid}/task").glob("*/stat")]
    assert {stat.rpartition(")")[2].split()[16] for stat in stats} == {"19"}
