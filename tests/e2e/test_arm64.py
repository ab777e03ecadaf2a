"""arm64 for real: the image of row `cpu` made for arm64 under emulation; in it a model is pulled, its engine built and
proved, the agent tested.

Emulation is ten times slower: of the agent's tests those run that wait for no other process (docker and switch tests
take half an hour).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from images import install, platforms, resolve
from model_registry.core.digest import Digest
from model_registry.core.layout import Layout
from tests.fakes.robot import release_fields, stage
from tests.fakes.tiny import make_tiny_model
from tests.run_folders import COMPILED
from tests.testbed import stack_image
from tests.testbed.registry import homeport

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[2]
AGENT_TESTS = ("test_journal.py", "test_gates.py", "test_containers.py", "test_stage.py")
PYTEST = (
    "attrs",
    "hypothesis",
    "iniconfig",
    "jsonschema",
    "jsonschema-specifications",
    "packaging",
    "pluggy",
    "pytest",
)
PYTEST += ("pytest-timeout", "referencing", "rpds-py", "sortedcontainers")


@pytest.fixture(scope="module")
def image(docker_engine: docker.DockerClient, arm64: None) -> str:
    return stack_image.built("arm64")


@pytest.fixture(scope="module")
def pytest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest for arm64, from the development lock, in `site`; the image has none.

    `compiled` has it and the checkout compiled, since emulation takes ten times as long for that as well. Another
    version of Python than the image's does not read it.
    """
    folder = tmp_path_factory.mktemp("pytest")
    folder.chmod(0o755)
    lines = (ROOT / "requirements/dev.txt").read_text()
    blocks = [block for block in resolve._blocks(lines) if resolve._name(block) in PYTEST]
    (folder / "wanted.txt").write_text("\n".join(blocks))
    resolve.run(resolve.download_argv(platforms.read()["cpu"], "arm64", folder / "wanted.txt", folder / "wheels"))
    for wheel in (folder / "wheels").glob("*.whl"):
        install.unpack(wheel, folder / "site", ".", [])
    sources = [folder / "site", *(ROOT / name for name in ("model_registry", "stack", "tests"))]
    command = [sys.executable, "-m", "compileall", "-q", *map(str, sources)]
    subprocess.run(command, env={**os.environ, COMPILED: str(folder / "compiled")}, timeout=300)
    return folder


def seen_as(places: dict[Path, str], compiled: Path) -> list[str]:
    """The volumes that show these folders to a container in other places, and there what is compiled of them."""
    sources = [f"{folder}:{place}:ro" for folder, place in places.items()]
    return sources + [f"{compiled}{folder}:/compiled{place}:ro" for folder, place in places.items()]


def test_it_is_an_arm64_image_and_runs_as_one(docker_engine: docker.DockerClient, image: str) -> None:
    assert docker_engine.images.get(image).attrs["Architecture"] == "arm64"
    assert stack_image.python(docker_engine, image, "import platform; print(platform.machine())") == "aarch64\n"


def test_a_model_is_pulled_and_its_engine_passes_the_goldens(
    docker_engine: docker.DockerClient, image: str, tmp_path: Path
) -> None:
    source = f"oci:{tmp_path / 'registry'}"
    packed = homeport("model", "pack", str(make_tiny_model(tmp_path / "tiny")), "--source", source, "--json")
    model = Digest.parse(json.loads(packed)["digest"])
    for folder in (Layout.at(tmp_path).models, Layout.at(tmp_path).engines):
        folder.mkdir(parents=True, exist_ok=True)
    fields = release_fields(model)
    fields["engine"]["budget"]["inference_p99_ms"] = 10_000.0  # not what emulation is asked for
    release = stage(tmp_path, fields, model)
    mounts = {"volumes": stack_image.shared(tmp_path)}

    pull = ["model_registry.cli", "model", "pull", f"homeport/tiny@{model}", "--source", source]
    stack_image.run(docker_engine, image, [*pull, "--to", str(Layout.at(tmp_path).models)], **mounts)
    build = ["stack.engine", "build", "--release", str(release), "--root", str(tmp_path), "--json"]
    built = json.loads(stack_image.run(docker_engine, image, build, **mounts))

    assert built["gate"]["verdict"] == "healthy", built


def test_the_agents_own_tests_pass_with_the_images_python(
    docker_engine: docker.DockerClient, image: str, pytest_folder: Path
) -> None:
    tests = [f"tests/unit/agent/{name}" for name in AGENT_TESTS]
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=600"]

    stack_image.run(  # fails with what pytest says
        docker_engine,
        image,
        ["pytest", *options, *tests],
        entrypoint=["sh", "-c", 'exec /usr/local/bin/entrypoint "$@" >&2', "sh"],
        volumes=seen_as({ROOT: "/checkout", pytest_folder / "site": "/pytest"}, pytest_folder / "compiled"),
        working_dir="/checkout",
        environment={
            "PYTHONPATH": "/pytest",
            COMPILED: "/compiled",
            "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        },
        tmpfs={"/tmp": "exec"},
    )
