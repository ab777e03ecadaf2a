"""What the image store lost or damaged comes back from the copy that the robot kept, with both runtimes and without a source."""

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
    rig.stop_agent(kill=True)
    if (pid := _pid(rig)) is not None:
        os.kill(pid, 9)
    getattr(rig, harm)(one)

    rig.start_agent()

    rig.until(lambda: rig.run("status").code == 0, "the release drives again")
    assert rig.status()["running"]["digest"] == one


def _pid(rig: Rig) -> int | None:
    return int(json.loads(rig.layout.slot_process("a").read_bytes())["host_pid"])


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
    own = rig.layout.images / f"{manifest_of('device').hex}.json"
    rig.until(own.exists, "the device's image was copied")

    assert {path.stem for path in rig.layout.images.glob("*.tar")} == {rig.copy_of(one).stem, own.stem}
    for path in rig.layout.images.glob("*.json"):
        check(json.loads(path.read_bytes()), "archive")
    assert not rig.copy_of(two).exists()


def test_the_device_s_own_image_comes_back_with_the_release(docker_rig: DockerRig) -> None:
    rig = docker_rig
    two_releases(rig)
    rig.until((rig.layout.images / f"{manifest_of('device').hex}.json").exists, "the device's image was copied")
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


def test_a_full_disk_is_not_taken_for_a_damaged_image(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = two_releases(rig)
    (rig.bin / "full").touch()

    answer = rig.run("rollback")

    assert answer.code == 1 and "no space left" in answer.message
    assert rig.calls("docker", "image", "rm") == [] and rig.calls("docker", "load") == []
    assert rig.status()["running"]["digest"] == two
    (rig.bin / "full").unlink()
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
