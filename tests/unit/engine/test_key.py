"""The engine key changes with everything that an engine depends on, and with nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Loop
from model_registry.core.contract.observation import LidarRecipe, NoiseRecipe
from model_registry.core.digest import Digest
from model_registry.core.release import Release, payload
from stack.engine.backends import BackendIdentity
from stack.engine.conversion import convert
from stack.engine.key import CONVERSION, cpu_identity, document, engine_key, power_mode
from tests.fakes.robot import release_fields
from tests.fakes.tiny import GRAPH, make_tiny_model

IDENTITY = BackendIdentity("onnxruntime", {"onnxruntime": "1.32.0"}, "fp32")


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return Contract.load(make_tiny_model(tmp_path_factory.mktemp("key") / "model"))


def release(change: Callable[[Any], object] = lambda fields: None) -> Release:
    fields = release_fields(Digest.of(b"model"))
    change(fields)
    return Release.parse(payload(fields))


def test_the_same_things_give_the_same_key(contract: Contract) -> None:
    key = engine_key(document(contract, release(), IDENTITY))
    assert key == engine_key(document(contract, release(), IDENTITY))
    assert len(key) == 64


def leaves(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    items = list(children)
    if not items:
        yield path
    for name, child in items:
        yield from leaves(child, (*path, name))


def test_every_field_of_the_document_changes_the_key(contract: Contract) -> None:
    fields = document(contract, release(), IDENTITY)
    keys = {engine_key(fields)}
    paths = list(leaves(fields))
    for path in paths:
        changed: Any = copy.deepcopy(fields)
        place = changed
        for name in path[:-1]:
            if isinstance(place[name], tuple):
                place[name] = list(place[name])
            place = place[name]
        place[path[-1]] = "changed"
        keys.add(engine_key(changed))
    assert len(keys) == len(paths) + 1 > 30


def see(contract: Contract, **changes: Any) -> Contract:
    """The same contract with other observations."""
    return replace(contract, observation=replace(contract.observation, **changes))


def camera(contract: Contract, **changes: Any) -> Contract:
    """The same contract with another recipe for its camera."""
    return see(contract, cameras={"front": replace(contract.observation.cameras["front"], **changes)})


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, files={**c.files, "policy.onnx": Digest.of(b"other")}),
        lambda c: replace(c, files={**c.files, "policy.data": Digest.of(b"weights")}),
        lambda c: replace(c, files={**c.files, "policy.onnx_data": Digest.of(b"weights")}),
        lambda c: replace(c, files={**c.files, "onnx__MatMul_7": Digest.of(b"weights")}),
        lambda c: replace(c, files={**c.files, "tokenizer.json": Digest.of(b"words")}),
        lambda c: replace(c, files={**c.files, "norm_stats.json": Digest.of(b"units")}),
        lambda c: camera(c, width=224),
        lambda c: camera(c, height=224),
        lambda c: camera(c, mean=(0.4, 0.4, 0.4)),
        lambda c: camera(c, std=(0.3, 0.3, 0.3)),
        lambda c: camera(c, resize="linear"),
        lambda c: camera(c, fit="letterbox"),
        lambda c: camera(c, frames=(-1, 0), every_s=0.1),
        lambda c: see(c, lidar=LidarRecipe(180, 3.0)),
        lambda c: see(c, lidar=LidarRecipe(90, 4.0)),
        lambda c: see(c, text=replace(c.observation.text, length=20)),
        lambda c: see(c, text=replace(c.observation.text, template="go: {text}")),
        lambda c: see(c, noise=NoiseRecipe((1, 8))),
        lambda c: replace(c, graphs=(replace(c.graphs[0], inputs=c.graphs[0].inputs[:2]),)),
        lambda c: replace(c, output=replace(c.output, first=1)),
        lambda c: replace(c, action=replace(c.action, normalise="min_max")),
        lambda c: replace(c, loop=Loop("euler", (1.0, 0.0), "policy.action")),
    ],
)
def test_another_model_has_another_key(contract: Contract, change: Callable[[Contract], Contract]) -> None:
    before = engine_key(document(contract, release(), IDENTITY))
    assert engine_key(document(change(contract), release(), IDENTITY)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["engine"].update(precision="fp16"),
        lambda f: f["engine"]["budget"].update(inference_p99_ms=1.0),
        lambda f: f["engine"]["budget"].update(peak_memory_bytes=1),
        lambda f: f["config"]["overrides"].update(onnxruntime_threads=2),
    ],
)
def test_another_recipe_has_another_key(contract: Contract, change: Callable[[Any], object]) -> None:
    before = engine_key(document(contract, release(), IDENTITY))
    assert engine_key(document(contract, release(change), IDENTITY)) != before


@pytest.mark.parametrize(
    "identity",
    [
        replace(IDENTITY, name="tensorrt"),
        replace(IDENTITY, versions={"onnxruntime": "1.33.0"}),
        replace(IDENTITY, precision="fp16"),
        replace(IDENTITY, device={"gpu": "Orin", "sm": "87", "memory": "8 GiB", "driver": "580.1"}),
    ],
)
def test_another_backend_has_another_key(contract: Contract, identity: BackendIdentity) -> None:
    before = engine_key(document(contract, release(), IDENTITY))
    assert engine_key(document(contract, release(), identity)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(version="9.9.9"),
        lambda f: f["config"]["overrides"].update(max_linear=0.3),
        lambda f: f.update(counter=77),
    ],
)
def test_releases_that_differ_elsewhere_share_an_engine(contract: Contract, change: Callable[[Any], object]) -> None:
    before = engine_key(document(contract, release(), IDENTITY))
    assert engine_key(document(contract, release(change), IDENTITY)) == before


def test_calibration_data_is_in_the_key_of_int8_alone(contract: Contract) -> None:
    name = "calibration.npz"
    one, other = (
        replace(contract, calibration=(name,), files={**contract.files, name: Digest.of(text)}) for text in (b"1", b"2")
    )
    for precision, alike in (("int8", False), ("fp32", True)):
        recipe = release(lambda f, precision=precision: f["engine"].update(precision=precision))
        keys = [engine_key(document(each, recipe, IDENTITY)) for each in (one, other)]
        assert (keys[0] == keys[1]) is alike


def test_what_converts_a_graph_is_in_the_key_of_what_is_converted(contract: Contract) -> None:
    """The scales of int8 are chosen by ONNX Runtime, whatever backend then builds the graph."""
    recipes = [release(lambda f, name=name: f["engine"].update(precision=name)) for name in ("fp32", "fp16", "int8")]
    conversions = [document(contract, each, IDENTITY)["conversion"] for each in recipes]
    made = [(None, None), (onnx.__version__, None), (onnx.__version__, onnxruntime.__version__)]
    assert conversions == [{"code": CONVERSION, "onnx": ours, "onnxruntime": theirs} for ours, theirs in made]


def test_a_conversion_that_gives_other_bytes_has_another_number() -> None:
    """When this fails, the same model becomes another engine: raise CONVERSION in stack/engine/key.py, and put the new
    digests here.
    """
    made = {
        name: Digest.of(convert(onnx.load(GRAPH), name).SerializeToString(deterministic=True)).hex[:16]
        for name in ("fp16", "bf16")
    }
    assert (CONVERSION, made) == (2, {"fp16": "c938998439c10820", "bf16": "9ab5818b2cb05228"})


def test_the_key_has_every_field_of_the_design(contract: Contract) -> None:
    fields: Any = document(contract, release(), IDENTITY)
    assert set(fields) == {"components", "preprocessing", "graphs", "recipe", "backend", "conversion", "device"}
    assert set(fields["backend"]) == {"name", "versions", "precision"}
    assert set(fields["device"]) == {"cpu", "gpu", "power_mode"}


def test_a_power_mode_is_what_the_jetson_calls_it(tmp_path: Path) -> None:
    file = tmp_path / "status"
    assert power_mode(file) is None
    file.write_text("pmode:0002\n")
    assert power_mode(file) == "pmode:0002"


def test_a_processor_is_known_by_its_model_and_its_instructions(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    seen = []
    for text in (
        "model name\t: A\nflags\t: sse avx\n",
        "model name\t: A\nflags\t: avx sse some_mitigation\n",
        "model name\t: A\nflags\t: sse\n",
        "model name\t: B\nflags\t: sse avx\n",
        "CPU implementer\t: 0x41\nCPU part\t: 0xd42\nFeatures\t: fp asimd\n",
    ):
        file.write_text(text)
        seen.append(tuple(cpu_identity(file).items()))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 4
