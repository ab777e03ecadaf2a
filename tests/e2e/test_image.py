"""The image of row `cpu` as it was really built: its contract, what it weighs, and that two builds give the same
layers.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from images import build
from model_registry.core.layout import Layout
from tests.fakes.robot import add_model, release_fields, stage
from tests.fakes.ros import REPOSITORY, wait_until
from tests.fakes.tiny import make_tiny_model
from tests.testbed import stack_image
from tests.testbed.stack_image import CONFINED, STATUS

pytestmark = pytest.mark.timeout(900)  # a first build fetches everything

MB = 1_000_000
IMPORTS = """
import cryptography.x509, cv2, numpy, onnxruntime, psutil, rclpy, rich, tokenizers, typer, urllib3
import diagnostic_msgs.msg, geometry_msgs.msg, lifecycle_msgs.msg, nav_msgs.msg, sensor_msgs.msg, trajectory_msgs.msg
import model_registry.cli, stack.cli, stack.engine.cli, stack.policy.node, stack.sim.node, stack.supervisor.node
from cryptography.hazmat.primitives.asymmetric import ec
print(stack.cli.__file__)
"""
TALK = """
import time, rclpy
from std_msgs.msg import String
rclpy.init()
node, heard = rclpy.create_node("talk"), []
publisher = node.create_publisher(String, "words", 10)
node.create_subscription(String, "words", lambda message: heard.append(message.data), 10)
end = time.monotonic() + 10
while not heard and time.monotonic() < end:
    publisher.publish(String(data="hello"))
    rclpy.spin_once(node, timeout_sec=0.1)
print(heard[0])
"""


@pytest.fixture(scope="module")
def image(docker_engine: docker.DockerClient) -> str:
    return stack_image.built()


def test_the_contract_is_in_the_configuration(docker_engine: docker.DockerClient, image: str) -> None:
    config = docker_engine.images.get(image).attrs["Config"]
    environment = dict(item.split("=", 1) for item in config["Env"])

    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGINT"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "/usr/local/bin/entrypoint"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/healthcheck"]
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/etc/homeport/dds.xml"
    assert environment["RMW_IMPLEMENTATION"] == "rmw_fastrtps_cpp"
    assert {"row": "cpu", "arch": "amd64", "l4t": "", "supervisor_protocol": "1"}.items() <= {
        key.removeprefix("dev.homeport."): value for key, value in config["Labels"].items()
    }.items()


def test_it_is_small_and_the_last_of_its_three_layers_is_the_application(
    docker_engine: docker.DockerClient, image: str
) -> None:
    layers = [layer for layer in docker_engine.images.get(image).history() if layer["Size"]]

    assert len(layers) == 3
    assert "application" in layers[0]["CreatedBy"]
    assert layers[0]["Size"] <= 10 * MB
    assert sum(layer["Size"] for layer in layers) <= 700 * MB


def test_every_module_loads_with_no_rights_and_no_network(docker_engine: docker.DockerClient, image: str) -> None:
    assert stack_image.python(docker_engine, image, IMPORTS).startswith("/opt/homeport/app/stack/cli/")


def test_ros_talks_over_loopback_under_the_dds_profile(docker_engine: docker.DockerClient, image: str) -> None:
    assert stack_image.python(docker_engine, image, TALK) == "hello\n"


def test_the_bill_of_materials_and_openssl_are_inside(docker_engine: docker.DockerClient, image: str) -> None:
    text = stack_image.run(
        docker_engine, image, ["-c", "openssl version >&2 && cat /usr/share/homeport/sbom.spdx.json"], entrypoint="sh"
    )
    names = {package["name"] for package in json.loads(text)["packages"]}

    assert {"homeport", "numpy", "openssl", "ros-rclpy", "tini"} <= names


def test_the_bench_for_a_gpu_runs_in_it_from_a_checkout(docker_engine: docker.DockerClient, image: str) -> None:
    """As docs/hardware-checklist.md has it for a Jetson; without a GPU it says so of each case."""
    where = {"volumes": [f"{REPOSITORY}:/checkout:ro"], "working_dir": "/checkout", "entrypoint": stack_image.PYTHON[0]}
    line = json.loads(stack_image.run(docker_engine, image, ["-m", "tests.bench", "gpu"], **where).splitlines()[-1])

    assert (line["bench"], line["verdict"]) == ("gpu", "not run")
    assert all(line["baselines"]["not_run"].values())


def test_an_engine_is_built_and_proved_offline(docker_engine: docker.DockerClient, image: str, tmp_path: Path) -> None:
    model = add_model(tmp_path, make_tiny_model(tmp_path / "tiny"))
    release = stage(tmp_path, release_fields(model), model)
    Layout.at(tmp_path).engines.mkdir(parents=True, exist_ok=True)
    volumes = stack_image.shared(tmp_path)

    def engine(*words: str) -> Any:
        argv = ["stack.engine", *words, "--root", str(tmp_path)]
        return json.loads(stack_image.run(docker_engine, image, argv, volumes=volumes))

    built = engine("build", "--release", str(release), "--json")

    assert built["gate"]["verdict"] == "healthy"
    assert [(each["key"], each["verdict"]) for each in engine("list", "--json")] == [(built["key"], "healthy")]
    assert engine("show", built["key"][:12])["files"]["gate.json"]["verdict"] == "healthy"
    assert engine("gc", "--json") == []


@pytest.fixture
def slot(
    docker_engine: docker.DockerClient, image: str, tmp_path: Path
) -> Iterator[docker.models.containers.Container]:
    """A container of slot a that does nothing; its status file is below `tmp_path`."""
    container = docker_engine.containers.run(
        image,
        ["-c", "exec sleep 600"],
        entrypoint=["/usr/bin/tini", "--", "sh"],
        environment={"HOMEPORT_SLOT": "a"},
        volumes=stack_image.shared(tmp_path, str(Path(STATUS).parent), "ro"),
        detach=True,
        **CONFINED,
    )
    yield container
    container.remove(force=True)


@pytest.mark.parametrize(
    ("status", "age_s", "healthy"),
    [
        ('{"error":null,"state":"ready"}', 0, True),
        ('{"error":null,"state":"ready"}', 4, False),
        ('{"error":null,"state":"warming"}', 0, False),
        (r'{"error":"said \"state\":\"ready\"","state":"failed"}', 0, False),
        ("", 0, False),
        (None, 0, False),
    ],
)
def test_a_slot_is_healthy_when_its_status_is_fresh_and_ready(
    slot: docker.models.containers.Container, tmp_path: Path, status: str | None, age_s: float, healthy: bool
) -> None:
    if status is not None:
        path = tmp_path / "status.json"
        path.write_text(status)
        shutil.os.utime(path, (time.time() - age_s,) * 2)

    code, said = slot.exec_run(["/usr/local/bin/healthcheck"])

    assert (code == 0) is healthy, said.decode()
    assert healthy or b"status.json" in said


def test_what_is_no_slot_is_healthy_without_a_file(slot: docker.models.containers.Container) -> None:
    assert slot.exec_run(["/usr/local/bin/healthcheck"], environment={"HOMEPORT_SLOT": ""}).exit_code == 0


def test_a_running_program_stops_at_once(docker_engine: docker.DockerClient, image: str) -> None:
    container = docker_engine.containers.run(image, ["stack.sim", "--seed", "1"], detach=True, **CONFINED)
    try:
        wait_until(lambda: container.exec_run(["test", "-d", "/tmp/ros"]).exit_code == 0, 30.0, "ROS 2 to start")
        before = time.monotonic()
        container.stop(timeout=10)
        assert time.monotonic() - before <= 2.0, container.logs().decode()
    finally:
        container.remove(force=True)


def test_a_clean_build_from_another_folder_gives_the_same_layers(
    docker_engine: docker.DockerClient, image: str, tmp_path: Path
) -> None:
    """As those of the image that is there, whenever that was built: now, or by a run before."""
    planned = stack_image.plan("amd64")
    shutil.copytree(planned.context, tmp_path / "other", copy_function=shutil.copyfile)  # new dates, new modes
    clean = replace(planned, tags=("homeport/stack:test-clean",), context=str(tmp_path / "other"))

    built = docker_engine.images.get(build.build(clean, no_cache=True))

    docker_engine.images.remove(clean.tags[0], force=True)
    assert built.attrs["RootFS"]["Layers"] == docker_engine.images.get(image).attrs["RootFS"]["Layers"]
