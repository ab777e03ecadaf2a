"""Both architectures under one index in a real registry, each with its bill of materials; a robot takes its own by the
platform's digest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.version import version
from model_registry.images import SBOM, find_image, referrers
from model_registry.sources import Source, open_source
from tests.fakes.ros import REPOSITORY
from tests.testbed import stack_image
from tests.testbed.bench import publish
from tests.testbed.bench.fleet import Bench

pytestmark = pytest.mark.timeout(1200)

ROBOTS = ("alder", "birch")
TAG = f"{version()}-cpu"


@pytest.fixture(scope="module")
def pushed(bench: Bench, arm64: None) -> Iterator[Source]:
    """The registry after `make push` of both architectures."""
    stack_image.built("arm64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMEPORT_CA_FILE", str(bench.secrets / "ca.crt"))
        argv = [sys.executable, "-m", "images.bake", "push", "--to", bench.registry_address, "--platform", "cpu"]
        done = subprocess.run([*argv, "--allow-drift"], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        yield open_source(bench.source)


def test_a_release_names_the_robots_own_image_of_the_index(bench: Bench, pushed: Source, tmp_path: Path) -> None:
    own, other = (find_image(pushed, publish.STACK, TAG, arch) for arch in ("amd64", "arm64"))
    recipe = tmp_path / "release.toml"
    made = (bench.folder / "release-1.1.0.toml").read_text()
    recipe.write_text(made.replace(f":{TAG}-amd64", f":{TAG}"))
    known = ["--file", str(recipe), "--source", bench.source, "--model", "homeport/pilot:1.1.0", "--json"]
    key = str(next((bench.secrets / "release").glob("*.key")))
    printed = publish.homeport(
        bench.secrets / "ca.crt",
        *("release", "create", *known, "--key", key, "--version", "1.1.1", "--counter", "3"),
    )
    release = json.loads(printed)["release"]

    robot = bench.robots["alder"]
    staged = robot.agent("stage", release)
    seen = robot.inspect(f"registry.bench:5000/{publish.STACK}@{own.digest}")

    assert own.index_digest == other.index_digest is not None
    assert own.digest != other.digest
    assert staged["exit_code"] == 0
    assert seen["Id"] == str(own.config_digest)
    assert seen["Architecture"] == "amd64"


def test_an_engine_that_is_given_the_index_takes_the_robots_architecture(bench: Bench, pushed: Source) -> None:
    own = find_image(pushed, publish.STACK, TAG, "amd64")
    name = f"registry.bench:5000/{publish.STACK}@{own.index_digest}"
    robot = bench.robots["birch"]
    robot.run("docker", "pull", "--quiet", name)

    assert robot.inspect(name)["Id"] == str(own.config_digest)


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_each_image_has_its_bill_of_materials_as_a_referrer(pushed: Source, arch: str) -> None:
    image = find_image(pushed, publish.STACK, TAG, arch)

    found = [each for each in referrers(pushed, publish.STACK, image.digest) if SBOM in json.dumps(each.fields())]

    assert len(found) == 1
    assert isinstance(found[0].digest, Digest)
