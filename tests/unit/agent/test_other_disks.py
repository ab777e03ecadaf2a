"""Folders of ROOT on disks, mounts and volumes of their own: nothing is renamed, linked or locked across two of them,
and room is counted on each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.errors import RefusedError
from model_registry.core.files import Files
from model_registry.packing import pack
from model_registry.sources import open_source
from stack.agent.machine.room import RESERVE_BYTES, Need, check_rooms
from tests.fakes.model import NAME, make_model
from tests.fakes.rig import Rig
from tests.fakes.ros import REPOSITORY

OTHER = Path("/dev/shm")
MAY_MOUNT = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    elsewhere = Path("/tmp") if tmp_path.stat().st_dev == OTHER.stat().st_dev else OTHER
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system")
    folder = elsewhere / f"homeport-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def tree(folder: Path) -> dict[str, bytes | str]:
    """Files and links below a folder, by name."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
    }


def test_a_folder_moves_to_another_file_system_whole_and_leaves_nothing(tmp_path: Path, other: Path) -> None:
    source, target = tmp_path / "release", other / "release"
    (source / "site").mkdir(parents=True)
    (source / "site/a.py").write_text("x")
    (source / "model").symlink_to("../../models/1")
    wanted = tree(source)

    Files().move(source, target)

    assert tree(target) == wanted and list(other.iterdir()) == [target] and not source.exists()


def test_a_file_moves_to_another_file_system(tmp_path: Path, other: Path) -> None:
    (tmp_path / "image.whl").write_bytes(b"x" * 5000)

    Files().move(tmp_path / "image.whl", other / "kept.whl")

    assert tree(other) == {"kept.whl": b"x" * 5000} and not list(tmp_path.iterdir())


def test_a_move_that_finds_the_other_disk_unwritable_leaves_the_source_and_nothing_half(
    tmp_path: Path, other: Path
) -> None:
    source = tmp_path / "release"
    source.mkdir()
    (source / "socket").mkdir()
    os.mkfifo(source / "pipe")  # what cannot be copied stands for a disk that is full

    with pytest.raises((OSError, shutil.Error)):
        Files().move(source, other / "release")

    assert source.exists() and list(other.iterdir()) == []


def test_room_is_counted_on_the_disk_that_takes_it(tmp_path: Path, other: Path) -> None:
    here, there = (shutil.disk_usage(path).free for path in (tmp_path, other))
    small, large = (tmp_path, other) if here < there else (other, tmp_path)
    fits = (min(here, there) + max(here, there)) // 2 - RESERVE_BYTES if abs(here - there) > 4 * RESERVE_BYTES else 0

    check_rooms([Need(large / "models", "the model", max(fits, 0)), Need(small, "its engine", 0)])
    with pytest.raises(RefusedError, match="the model"):
        check_rooms([Need(small / "models", "the model", min(here, there)), Need(large, "its engine", 0)])


@pytest.mark.parametrize("name", ["releases", "slots"])
def test_a_folder_that_is_a_link_is_refused_before_anything_is_fetched(name: str, rig: Rig, tmp_path: Path) -> None:
    folder = rig.layout.root / name
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    answer = rig.run("stage", rig.publish("1.0.0"))

    assert answer.code == 5 and answer.result["failure"]["stage"] == "PREFLIGHT"
    assert "is a symbolic link" in answer.message and "mount --bind" in answer.message


@pytest.mark.skipif(not MAY_MOUNT, reason="nobody may mount here")
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_model_is_pulled_onto_a_disk_or_a_mount_of_its_own(kind: str, tmp_path: Path) -> None:
    source = open_source(f"oci:{tmp_path / 'registry'}", writable=True)
    _, digest = pack(make_model(tmp_path / "m"), source)
    models, behind = tmp_path / "homeport/models", tmp_path / "behind"
    models.mkdir(parents=True)
    behind.mkdir()
    mount = {"tmpfs": f"mount -t tmpfs none '{models}'", "bind": f"mount --bind '{behind}' '{models}'"}[kind]
    source = f"oci:{tmp_path}/registry"
    pull = f"'{sys.executable}' -m model_registry.cli model pull {NAME}@{digest} --source '{source}' --to '{models}'"
    script = f"{mount} && {pull} && {pull} && ls -A '{models}/{digest.hex}'"

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "policy.onnx" in done.stdout.split() and "already here, nothing fetched" in done.stderr
    assert [path.name for path in models.parent.iterdir()] == ["models"]


DEPLOY = """
import subprocess, sys
from pathlib import Path
from model_registry.core.layout import FOLDERS
from tests.fakes.rig import Rig
rig = Rig(Path(sys.argv[1]))
for name in FOLDERS:
    (rig.root / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(rig.root / name)], check=True)
with rig:
    one, two, three, four = (rig.publish(f"1.{number}.0") for number in range(4))
    for digest in (one, two, three):
        rig.deploy(digest)
    assert rig.run("stage", four).code == 0
    assert rig.run("rollback").code == 0
    assert rig.run("prune").code == 0
    print(rig.status()["running"]["digest"] == two, rig.status()["healthy"], rig.status()["problems"])
"""


@pytest.mark.skipif(not MAY_MOUNT, reason="nobody may mount here")
def test_a_robot_whose_folders_are_mounts_of_their_own_deploys_goes_back_and_prunes(tmp_path: Path) -> None:
    argv = ["unshare", "-m", sys.executable, "-c", DEPLOY, str(tmp_path)]

    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)

    assert done.stdout.split()[:2] == ["True", "True"], done.stdout + done.stderr
