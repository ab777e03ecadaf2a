"""The docker runtime from a pull to a rollback, with a real agent and stand-ins for docker and systemctl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError
from model_registry.core.files import Files
from model_registry.core.layout import ReleaseFolder
from stack.agent.__main__ import main
from stack.agent.runtime import Fetched
from stack.agent.runtime.docker import DockerRuntime
from stack.agent.settings.config import Config
from tests.fakes import docker
from tests.fakes.docker_rig import DEVICE, DockerRig, image_id


@pytest.fixture
def rig(docker_rig: DockerRig) -> DockerRig:
    return docker_rig


def runtime(rig: DockerRig) -> DockerRuntime:
    return DockerRuntime(rig.layout, Config.load(rig.layout.agent_toml), Files())


def change_info(rig: DockerRig, **changes: object) -> None:
    (rig.bin / "info.json").write_text(json.dumps({**docker.INFO, **changes}))


def test_a_release_is_pulled_once_by_digest_and_runs_by_image_id(rig: DockerRig) -> None:
    one = rig.publish("1.0.0")
    answer = rig.deploy(one)
    assert answer.code == 0, answer.document
    assert rig.run("status").code == 0
    reference = f"registry.test:5000/homeport/stack@{Digest.of(b'manifest 1.0.0')}"
    assert rig.calls("docker", "pull") == [["docker", "pull", "--quiet", reference]]
    runs = rig.calls("docker", "run")
    modules = [call[-call[::-1].index("--mount") :] for call in runs]
    assert [words[2] for words in modules] == [
        "model_registry.cli",
        "model_registry.cli",
        "stack.engine",
        "stack.policy",
    ]
    assert modules[0][1].endswith(str(DEVICE))
    assert {words[1] for words in modules[1:]} == {str(image_id("1.0.0"))}
    assert rig.run("stage", one).result["changed"] is False
    assert len(rig.calls("docker", "pull")) == 1


def test_a_second_release_takes_over_and_rolls_back(rig: DockerRig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    assert rig.deploy(two).code == 0
    assert rig.status()["current"]["digest"] == two and rig.processes()["a"] is None
    assert not (rig.bin / "containers/homeport-slot-a").exists()
    (rig.bin / "pull_error").write_text("no network")
    answer = rig.run("rollback")
    assert answer.code == 0, answer.document
    assert rig.status()["running"]["digest"] == one
    assert len(rig.calls("docker", "pull")) == 2


def test_staged_again_after_the_machine_changed_it_runs_the_engine_that_was_proved_then(rig: DockerRig) -> None:
    rig.deploy(one := rig.publish("1.0.0"))
    link = rig.layout.release(Digest.parse(one)).engine
    before = link.readlink().name
    behaviour = rig.bin / "images" / image_id("1.0.0").hex / "site/stack/policy/behaviour.json"
    behaviour.write_text(json.dumps({"key": "2" * 64}))

    answer = rig.run("stage", one, "--retry")

    assert answer.code == 0 and answer.result["engines_built"] == 1, answer.document
    assert link.readlink().name == "2" * 64
    removed = rig.run("prune").result["removed"]
    assert [each["name"] for each in removed if each["kind"] == "engine"] == [before]


def test_looking_at_a_slot_asks_nobody(rig: DockerRig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    before = len(rig.calls())
    assert runtime(rig).alive("a") is not None
    assert runtime(rig).alive("b") is None
    assert len(rig.calls()) == before


def test_an_image_with_another_id_is_refused(rig: DockerRig) -> None:
    one = rig.publish("1.0.0")
    path = rig.bin / "registry" / Digest.of(b"manifest 1.0.0").hex / "image.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "Id": str(Digest.of(b"evil"))}))
    answer = rig.run("stage", one)
    assert answer.code == 5 and str(image_id("1.0.0")) in answer.message
    assert not list((rig.root / "releases").iterdir()) and not list(rig.layout.ingest.iterdir())


@pytest.mark.parametrize(
    ("labels", "words"), [({"row": "jp6"}, "made for jp6/"), ({"arch": "riscv"}, "its label says riscv")]
)
def test_an_image_for_another_device_is_refused(labels: dict[str, str], words: str, rig: DockerRig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    pids = rig.processes()
    answer = rig.run("stage", rig.publish("1.1.0", **labels))
    assert answer.code == 5 and words in answer.message and answer.result["failure"]["stage"] == "STAGE"
    assert rig.processes() == pids and rig.status()["quarantined"] == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("failed to register layer: write /x: no space left on device", "disk is full"),
        ("Error response from daemon: manifest unknown", "push it there"),
        (
            "Get https://x: x509: certificate has expired or is not yet valid: current time 2000-01-01",
            "clock stands at 2",
        ),
        ("Get https://x: x509: certificate signed by unknown authority", "homeport_registry_ca"),
        ("dial tcp: connection refused", "reachable from here"),
    ],
)
def test_a_pull_that_fails_is_one_clear_error(said: str, words: str, rig: DockerRig) -> None:
    (rig.bin / "pull_error").write_text(said)
    answer = rig.run("stage", rig.publish("1.0.0"))
    assert answer.code == 1 and words in answer.message and "\n" not in answer.message
    assert rig.status()["quarantined"] == [] and not list(rig.layout.ingest.iterdir())


def test_too_little_room_is_told_before_the_pull(rig: DockerRig, tmp_path: Path) -> None:
    release = rig.publish("1.0.0")
    rig.run("stage", release)
    rig.forget_image("1.0.0")
    from stack.agent.disk.store import Store

    loaded = Store(rig.layout, Files(), runtime(rig)).load(Digest.parse(release, "release"))
    with pytest.raises(RefusedError, match=r"bytes free, \d+ needed \(the image"):
        runtime(rig).install(loaded, Fetched(ReleaseFolder(tmp_path), docker.SOURCE, 1 << 60))
    assert len(rig.calls("docker", "pull")) == 1


def test_a_release_whose_image_has_gone_is_not_complete_and_can_be_staged_again(rig: DockerRig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    pids = rig.processes()
    rig.wait_copied(one)
    rig.copy_of(one).unlink()
    rig.lose_image(one)
    assert rig.status()["staged"] == [two]
    answer = rig.run("rollback")
    assert answer.code == 5 and "(image missing)" in answer.message
    assert rig.processes() == pids
    assert rig.run("stage", one).code == 0
    assert rig.run("rollback").code == 0
    assert rig.status()["current"]["digest"] == one


def test_a_host_that_cannot_give_a_gpu_is_told_before_anything_stops(rig: DockerRig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.run("stage", two)
    pids = rig.processes()
    change_info(rig, ServerVersion="19.03.0")
    answer = rig.run("switch", two)
    assert answer.code == 5 and "too old" in answer.message
    assert rig.processes() == pids


def test_a_missing_device_image_names_the_role_that_brings_it(rig: DockerRig) -> None:
    (rig.bin / "images" / image_id("device").hex).unlink()
    answer = rig.run("stage", rig.publish("1.0.0"))
    assert answer.code == 5 and "role `device`" in answer.message


def test_a_policy_that_ends_at_once_is_told_with_its_last_words(rig: DockerRig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0", {"die_after_s": 0.1})
    rig.deploy(one)
    answer = rig.deploy(two)
    assert answer.code == 1
    assert rig.status()["running"]["digest"] == one


def test_a_log_that_is_no_text_keeps_nobody_from_the_way_back(rig: DockerRig) -> None:
    one, bad = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.supervisor.revert_after_s[bad] = 0.2
    (rig.bin / "log-b").write_bytes(b"\xff\xfe frame of the camera\n")
    answer = rig.deploy(bad)
    assert answer.code == 1 and answer.result["failure"]["metric"] == "limited", answer.document
    status = rig.status()
    assert status["running"]["digest"] == one and status["quarantined"] == [bad]
    assert "frame of the camera" in " ".join(status["log"])


def test_a_unit_that_does_not_start_is_told_and_the_old_release_drives(rig: DockerRig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.run("stage", two)
    (rig.bin / "agent.json").write_text(json.dumps(["/bin/sh", "-c", "echo error: no such thing >&2; exit 1"]))
    answer = rig.run("switch", two)
    assert answer.code == 1 and "no such thing" in answer.message
    assert rig.status()["running"]["digest"] == one


def test_run_slot_takes_only_what_is_signed(rig: DockerRig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.deploy(one := rig.publish("1.0.0"))
    path = rig.layout.release(Digest.parse(one, "release")).envelope
    document: dict[str, Any] = json.loads(path.read_text())
    document["payload"] = "e30="
    path.write_text(json.dumps(document))
    before = len(rig.calls("docker", "run"))
    assert main(["--root", str(rig.root), "run-slot", "a"]) == 5
    assert "no valid signature" in capsys.readouterr().err
    assert main(["--root", str(rig.root), "run-slot", "b"]) == 1
    assert len(rig.calls("docker", "run")) == before
