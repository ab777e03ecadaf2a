"""Bad input on a real robot's agent: one clear error, the documented exit code, and nothing changed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.errors import LinkError
from tests.integration.test_agent import install
from tests.testbed.fleet import Robot
from tests.testbed.registry import REFERENCE, Published, homeport, release


@pytest.fixture(scope="module")
def running(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """One robot that runs 1.0.0."""
    robot = Robot("alder", tmp_path_factory.mktemp("robots"), seed=11)
    digest = published.releases["1.0.0"]
    try:
        install(robot, published)
        robot.power_on(respawn=False)
        robot.agent("stage", digest)
        robot.agent("switch", digest, "--gate", "moving", "--probation", "1")
        yield robot
    finally:
        robot.power_off()


@pytest.fixture
def robot(running: Robot, published: Published) -> Iterator[Robot]:
    """The robot; whatever a test asked of it, it must still run 1.0.0, with nothing new staged, stored or built."""
    before = state(running)
    yield running
    assert state(running) == before
    assert running.agent("status")["running"]["digest"] == published.releases["1.0.0"]


def state(robot: Robot) -> dict[str, object]:
    folders = ("models", "engines")
    names = {folder: sorted(path.name for path in (robot.root / folder).glob("[0-9a-f]*")) for folder in folders}
    staged = robot.agent("status")["staged"]
    return {**names, "staged": staged, "current": str(robot.layout.current.readlink())}


def refused(robot: Robot, code: int, *arguments: str) -> str:
    """Run a verb that must end with `code` and one line of error; returns that line."""
    reply = robot.agent(*arguments, check_code=False)
    assert reply["exit_code"] == code, reply
    message = str(reply["error"]["message"])
    assert reply["error"]["code"] == code
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def test_an_unknown_release_is_not_found(robot: Robot) -> None:
    assert "sha256:" in refused(robot, 1, "stage", "sha256:" + "0" * 64)


def test_a_tag_instead_of_a_digest_is_a_usage_error(robot: Robot) -> None:
    assert "give the digest, not a tag" in refused(robot, 2, "stage", "1.1.0")


def test_a_release_signed_by_a_stranger_is_refused(robot: Robot, published: Published, tmp_path: Path) -> None:
    homeport("keys", "generate", "--out", str(tmp_path / "stranger"))
    key = next((tmp_path / "stranger").glob("*.key"))
    registry = tmp_path / "registry"
    homeport("model", "pack", str(REFERENCE / "pilot-1.1.0"), "--source", f"oci:{registry}")
    digest = release(tmp_path, f"oci:{registry}", key, published.wheel, "1.1.0", 7)

    assert "key" in refused(robot, 5, "stage", digest, "--source", f"oci:{registry}")


def test_a_flipped_byte_in_a_model_is_refused(robot: Robot, published: Published, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    shutil.copytree(published.folder, registry)
    onnx = (REFERENCE / "pilot-1.1.0" / "policy.onnx").read_bytes()
    weights = next(blob for blob in (registry / "blobs" / "sha256").iterdir() if blob.read_bytes() == onnx)
    damaged = bytearray(onnx)
    damaged[len(damaged) // 2] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(damaged)

    message = refused(robot, 5, "stage", published.releases["1.1.0"], "--source", f"oci:{registry}")

    assert "sha256" in message


def test_a_contract_for_another_body_is_refused(robot: Robot, published: Published, tmp_path: Path) -> None:
    model = tmp_path / "pilot"
    shutil.copytree(REFERENCE / "pilot-1.1.0", model)
    contract = json.loads((model / "vla.json").read_text())
    contract["embodiment"] = "quadruped"
    contract["version"] = "9.0.0"
    (model / "vla.json").write_text(json.dumps(contract))
    registry = tmp_path / "registry"
    homeport("model", "pack", str(model), "--source", f"oci:{registry}")
    digest = release(tmp_path, f"oci:{registry}", published.key, published.wheel, "9.0.0", 9, "quadruped")

    assert "quadruped" in refused(robot, 5, "stage", digest, "--source", f"oci:{registry}")


def test_a_robot_that_does_not_answer_says_who_is_missing(robot: Robot, tmp_path: Path) -> None:
    argv = [sys.executable, str(robot.agent_file), "--root", str(tmp_path), "status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no agent serves here" in done.stderr


def test_a_second_deploy_while_one_runs_is_locked(robot: Robot, published: Published) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}"
        argv = [sys.executable, str(robot.agent_file), "--root", str(robot.root)]
        first = [*argv, "stage", published.releases["1.1.0"], "--source", source]
        with subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
            silent.settimeout(30.0)
            connection, _ = silent.accept()

            assert "stage" in refused(robot, 6, "stage", published.releases["1.1.0"])

            connection.close()
            silent.close()
            assert running.wait(60) == LinkError.exit_code
