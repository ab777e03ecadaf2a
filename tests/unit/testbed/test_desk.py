"""What `make fleet-up` leaves for the person at the desk, and that the tutorial finds it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_registry.releasing import Draft
from tests.fakes.ros import REPOSITORY
from tests.testbed.bench import desk
from tests.testbed.readme import commands

RELEASES = {"1.0.0": f"sha256:{'1' * 64}", "1.1.0": f"sha256:{'2' * 64}"}
TUTORIAL = (REPOSITORY / "docs/tutorial.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bench's folder with one robot."""
    bench, secrets = tmp_path / "bench", tmp_path / "se crets"
    (secrets / "release").mkdir(parents=True)
    (secrets / "release" / "homeport.key").touch()
    bench.mkdir()
    (bench / "release-1.0.0.toml").write_text(desk.recipe("homeport/stack:0.1.0-cpu-amd64", "cpu", "amd64"))
    robots = [SimpleNamespace(name="alder", port=40022)]
    desk.write(bench, robots, secrets, "https://127.0.0.1:5000", RELEASES)
    return bench


def test_a_shell_takes_the_settings(folder: Path) -> None:
    shown = 'source environment; printf "%s\\n" "$HOMEPORT_SOURCE" "$FIRST" "$HOMEPORT_KEY" "$INVENTORY"'
    done = subprocess.run(["bash", "-euc", shown], cwd=folder, capture_output=True, text=True, check=True)

    source, first, key, inventory = done.stdout.splitlines()
    assert (source, first) == ("https://127.0.0.1:5000", RELEASES["1.0.0"])
    assert Path(key).exists() and Path(inventory) == folder / "inventory"


def test_the_recipe_is_the_next_release_with_the_image_of_the_bench(folder: Path) -> None:
    draft = Draft.load(folder / "release.toml")

    assert (draft.name, draft.version, draft.counter) == ("pilot", desk.OWN_VERSION, desk.OWN_COUNTER)
    assert 'ref = "homeport/pilot:1.1.0"' in (folder / "release.toml").read_text()
    assert 'row_arch = "cpu/amd64"' in (folder / "release.toml").read_text()


def test_what_a_person_has_changed_in_the_recipe_stays(folder: Path) -> None:
    recipe = folder / "release.toml"
    recipe.write_text(recipe.read_text().replace("2.0.0", "2.0.1"))
    desk.write(folder, [], folder.parent / "se crets", "https://127.0.0.1:5001", RELEASES)

    assert Draft.load(recipe).version == "2.0.1"
    assert "5001" in (folder / "environment").read_text()


def test_ssh_finds_a_robot_by_its_name(folder: Path) -> None:
    argv = ["ssh", "-G", "-F", str(folder / "ssh_config"), "alder"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, env=os.environ).stdout.splitlines()

    assert {"hostname 127.0.0.1", "port 40022", "user homeport", "stricthostkeychecking true"} <= set(shown)
    [identity] = [line for line in shown if line.startswith("identityfile")]
    assert identity.endswith("se crets/operator")


def test_the_tutorial_names_only_files_that_are_written(folder: Path) -> None:
    (folder / "mine").touch()  # the tutorial's own, by tee
    (folder / "inventory").touch()
    words = {word for command in commands(TUTORIAL) for word in command.line.replace(")", " ").split()}
    named = {word.removeprefix("build/bench/") for word in words if word.startswith("build/bench/")}

    assert {"environment", "ssh_config", "release.toml"} <= named
    assert [name for name in named if not (folder / name).exists()] == []
