"""prune and pin: what goes, what never goes, and that the ways back are as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_registry.core.documents import dump
from model_registry.core.files import Files
from stack.agent.runtime.containers import USER
from stack.agent.runtime.docker import DockerRuntime
from stack.agent.settings.config import Config
from tests.fakes.docker_rig import DockerRig, image_id
from tests.fakes.rig import Rig


def deployed(rig: Rig, *versions: str) -> list[str]:
    releases = [rig.publish(version) for version in versions]
    for release in releases:
        assert rig.deploy(release).code == 0
    return releases


def kinds(rig: Rig, *options: str) -> dict[str, int]:
    """What prune tells, and how many of each kind."""
    answer = rig.run("prune", *options)
    assert answer.code == 0, answer.document
    removed = answer.result["removed"]
    assert answer.result["bytes_freed"] == sum(each["bytes"] for each in removed)
    return {kind: sum(each["kind"] == kind for each in removed) for kind in {each["kind"] for each in removed}}


def test_what_no_way_back_needs_is_removed_and_counted(any_rig: Rig) -> None:
    rig = any_rig
    one, two, three = deployed(rig, "1.0.0", "1.1.0", "1.2.0")
    rig.run("stage", four := rig.publish("1.3.0"))
    rig.wait_copied(two)
    rig.cut_off()

    told = kinds(rig, "--dry-run")

    assert sorted(rig.status()["staged"]) == sorted([one, two, three, four])
    assert told == {
        "release": 1,
        "model": 1,
        "engine": 1,
        **({"image": 1} if isinstance(rig, DockerRig) else {"copy": 1}),
    }
    assert kinds(rig) == told
    assert sorted(rig.status()["staged"]) == sorted([one, two, three])
    assert len(list(rig.layout.models.iterdir())) == len(list(rig.layout.engines.glob("[!.]*"))) == 3
    assert kinds(rig) == {}
    assert rig.run("rollback", "--to", "fallback").code == 0
    assert rig.status()["running"]["digest"] == one


def test_what_interrupted_work_left_goes_too(rig: Rig) -> None:
    deployed(rig, "1.0.0")
    (rig.layout.ingest / "release-1-2").mkdir()
    (rig.layout.ingest / "release-1-2/image.whl").write_bytes(b"x" * 8192)

    assert kinds(rig) == {"partial": 1}
    assert not list(rig.layout.ingest.iterdir())


def test_during_a_trial_nothing_is_removed(rig: Rig) -> None:
    deployed(rig, "1.0.0")
    rig.deploy(rig.publish("1.1.0"), "--commit", "wait", "--deadline", "60")

    assert rig.run("prune").code == 6
    assert rig.run("pin").code == 6


def test_a_release_of_a_slot_stays_though_no_link_names_it(rig: Rig) -> None:
    one, two = deployed(rig, "1.0.0", "1.1.0")
    for link in (rig.layout.previous, rig.layout.fallback):
        link.unlink()

    assert kinds(rig) == {}
    assert sorted(rig.status()["staged"]) == sorted([one, two])


def test_the_device_s_own_image_is_never_pruned(docker_rig: DockerRig) -> None:
    rig = docker_rig
    (one,) = deployed(rig, "1.0.0")
    rig.wait_copied(one)
    rig.until(lambda: len(list(rig.layout.images.glob("*.json"))) == 2, "both copies are made")

    assert kinds(rig) == {}
    assert (rig.bin / "images" / image_id("device").hex).exists()


def test_an_image_that_somebody_runs_is_left_to_docker(docker_rig: DockerRig) -> None:
    rig = docker_rig
    deployed(rig, "1.0.0")
    rig.run("stage", rig.publish("1.1.0"))
    (rig.bin / "containers/theirs").write_text(f"{image_id('1.1.0')} 1 1")

    assert kinds(rig)["image"] == 1
    assert (rig.bin / "images" / image_id("1.1.0").hex).exists()


class Giving(DockerRuntime):
    """Notes what an agent that is root gives to whom."""

    given: dict[Path, int]

    def _give(self, path: Path, uid: int) -> None:
        assert path.exists()
        self.given[path] = uid


def test_a_lock_that_prune_made_is_given_to_whoever_builds_engines(docker_rig: DockerRig) -> None:
    """Before the first build, by an agent that is root: the tool is not, and has no right over files that are not its
    own.
    """
    layout = docker_rig.layout
    assert kinds(docker_rig, "--dry-run") == {}
    runtime = Giving(layout, Config.load(layout.agent_toml), Files())
    runtime.given = {}

    runtime.preflight()

    assert runtime.given == dict.fromkeys(
        (layout.models, layout.engines, layout.ingest, layout.engines / ".lock"), USER
    )


def test_a_pinned_release_is_the_fallback_and_outlives_the_first(any_rig: Rig) -> None:
    rig = any_rig
    _, two = deployed(rig, "1.0.0", "1.1.0")

    answer = rig.run("pin")

    assert answer.code == 0 and answer.result["changed"] and answer.result["version"] == "1.1.0"
    assert rig.status()["fallback"]["digest"] == two
    assert rig.run("pin", two).result["changed"] is False
    deployed(rig, "1.2.0", "1.3.0")
    rig.wait_copied(two)
    assert kinds(rig)["release"] == 1
    assert rig.run("rollback", "--to", "fallback").code == 0
    assert rig.status()["running"]["digest"] == two


@pytest.mark.parametrize("how", ["unknown", "never committed", "no engine", "quarantine", "nothing here"])
def test_what_could_not_be_brought_back_is_not_pinned(rig: Rig, how: str) -> None:
    if how == "nothing here":
        answer = rig.run("pin")
        assert answer.code == 5 and "deploy one first" in answer.message
        return
    one, two = deployed(rig, "1.0.0", "1.1.0")
    target = two
    if how == "unknown":
        target = f"sha256:{'1' * 64}"
    elif how == "never committed":
        rig.run("stage", target := rig.publish("1.2.0"))
    elif how == "no engine":
        (rig.site(two).parent / "engine/ready").unlink()
    else:
        rig.layout.quarantine.write_bytes(dump({"releases": {two: "PROBATION: limited"}}))

    answer = rig.run("pin", target)

    assert answer.code == 5, answer.document
    assert rig.status()["fallback"]["digest"] == one
