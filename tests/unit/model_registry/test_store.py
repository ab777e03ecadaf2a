"""The device store: all of a model or nothing of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from model_registry import models
from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, IntegrityError, NotFoundError, UsageError
from model_registry.core.robot import Robot
from model_registry.manifests import Manifest
from model_registry.packing import check_folder, pack
from model_registry.sources import Source, open_source
from model_registry.store import PullResult, check_model, pull_model
from tests.fakes.model import NAME, make_model, write_contract
from tests.fakes.settings import robot_toml


class World:
    """A packed model, its source, and an empty store."""

    def __init__(self, folder: Path) -> None:
        self.registry, self.models = folder / "registry", folder / "models"
        self.source: Source = open_source(f"oci:{self.registry}", writable=True)
        self.folder = make_model(folder / "m")
        _, self.digest = pack(self.folder, self.source)

    def pull(self, digest: Digest | None = None, robot: Robot | None = None) -> PullResult:
        return pull_model(self.source, NAME, digest or self.digest, self.models, robot)

    def blob(self, path: str) -> Path:
        return self.registry / "blobs/sha256" / Digest.of_file(self.folder / path).hex

    def leftovers(self) -> list[Path]:
        """What a reader could take for a model, and is none."""
        found = [*self.models.iterdir()] if self.models.exists() else []
        return [path for path in found if not path.name.startswith(".") and path.name != self.digest.hex]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def robot(folder: Path, embodiment: str) -> Robot:
    (folder / "robot.toml").write_text(robot_toml(embodiment=embodiment))
    return Robot.load(folder / "robot.toml")


def test_a_pull_brings_every_file_read_only(world: World) -> None:
    result = world.pull()
    assert result.changed and result.path == world.models / world.digest.hex
    names = {path.relative_to(world.folder).as_posix() for path in world.folder.rglob("*") if path.is_file()}
    files = [path for path in result.path.rglob("*") if path.is_file()]
    assert {path.relative_to(result.path).as_posix() for path in files} == names | {"manifest.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}
    assert Digest.of_file(result.path / "manifest.json") == world.digest
    assert result.bytes_fetched == sum(path.stat().st_size for path in files)
    assert world.leftovers() == []


def test_pulling_again_fetches_nothing(world: World) -> None:
    world.pull()
    before = world.source.bytes_fetched
    assert world.pull() == PullResult(world.models / world.digest.hex, 0, False)
    assert world.source.bytes_fetched == before


@pytest.mark.parametrize("name", ["policy.onnx", "vla.json", "golden/forward.npz"])
def test_a_flipped_byte_in_the_source_leaves_nothing_behind(name: str, world: World) -> None:
    data = bytearray(world.blob(name).read_bytes())
    data[len(data) // 2] ^= 1
    world.blob(name).write_bytes(data)
    with pytest.raises(IntegrityError):
        world.pull()
    assert world.leftovers() == []


def test_a_missing_blob_leaves_nothing_behind(world: World) -> None:
    world.blob("policy.onnx").unlink()
    with pytest.raises(NotFoundError):
        world.pull()
    assert world.leftovers() == []


def test_an_unknown_model_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="push it"):
        world.pull(Digest("0" * 64))


def test_a_model_that_does_not_fit_costs_no_weight_byte(world: World, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match="made for diff_drive"):
        world.pull(robot=robot(tmp_path, "quadruped"))
    assert world.source.bytes_fetched < 10_000 < (world.folder / "policy.onnx").stat().st_size
    assert world.leftovers() == []


def test_a_model_that_fits_is_pulled(world: World, tmp_path: Path) -> None:
    assert world.pull(robot=robot(tmp_path, "diff_drive")).changed


def test_a_stored_model_that_does_not_fit_is_refused_as_well(world: World, tmp_path: Path) -> None:
    world.pull()
    with pytest.raises(IncompatibleError):
        world.pull(robot=robot(tmp_path, "quadruped"))


@pytest.mark.parametrize("damage", ["flip", "cut", "take", "add"])
def test_a_damaged_copy_is_fetched_again(damage: str, world: World) -> None:
    path = world.pull().path / "policy.onnx"
    path.chmod(0o644)
    data = path.read_bytes()
    if damage == "add":
        (path.parent / "extra.json").write_text("{}")
    elif damage == "take":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if damage == "flip" else b""))
    with pytest.raises(IntegrityError):
        check_model(path.parent, world.digest)
    assert world.pull().changed
    check_model(path.parent, world.digest)
    assert world.leftovers() == []


def test_what_an_interrupted_pull_left_is_swept_away(world: World) -> None:
    part = world.models / f".{world.digest.hex}.part"
    part.mkdir(parents=True)
    (part / "rubbish").write_text("x")
    assert not (world.pull().path / "rubbish").exists()
    assert not part.exists()


def test_a_contract_that_lists_other_files_than_the_manifest_is_refused(world: World) -> None:
    """A manifest that is whole in itself, over a contract that promises something else."""
    contract, files = check_folder(world.folder)
    fields = json.loads((world.folder / "vla.json").read_text())
    fields["files"]["tokenizer.json"] = f"sha256:{'1' * 64}"
    write_contract(world.folder, fields)
    words = (world.folder / "vla.json").read_bytes()
    files["vla.json"] = (Digest.of(words), len(words))
    manifest, _ = models.build(contract, files)
    world.source.put_blob(NAME, models.files_of(manifest, "m")["vla.json"], lambda: (words,))
    world.source.put_manifest(NAME, manifest.bytes(), "9.9.9")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        world.pull(Digest.of(manifest.bytes()))
    assert world.leftovers() == []


def test_a_release_is_not_taken_for_a_model(world: World) -> None:
    manifest = Manifest.parse(world.source.manifest(NAME, world.digest), "m")
    other = Manifest("application/x", manifest.config, manifest.layers).bytes()
    world.source.put_manifest(NAME, other, "9.9.9")
    with pytest.raises(UsageError, match="not a model"):
        world.pull(Digest.of(other))


def test_the_stored_contract_is_the_packed_one(world: World) -> None:
    assert Contract.load(world.pull().path) == Contract.load(world.folder)
