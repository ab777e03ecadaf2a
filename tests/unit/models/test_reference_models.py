"""The packaged models that the repository ships: their contract, their goldens, and that they still drive."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from stack.engine.goldens import read_calibration, read_goldens
from stack.models.commands import COMMANDS, PHRASES, tokenizer_json
from stack.models.package import CAMERA, CONTRACT
from stack.models.pilot import Pilot
from stack.sim.scenario import Outcome, drive
from stack.sim.scene import Pillar, Scene, ScenePose, build
from stack.sim.world import World

REPOSITORY = Path(__file__).parents[3]
MODELS = sorted((REPOSITORY / "stack/models/reference").glob("pilot-*"))
LARGEST_GRAPHS_BYTES = 2 << 20

each_model = pytest.mark.parametrize("folder", MODELS, ids=[folder.name for folder in MODELS])


def go(folder: Path, text: str, scene: Scene, seconds: float) -> Outcome:
    world = World(scene, np.random.default_rng(1))
    return drive(world, Pilot(folder), text, seconds, seed=1)


def random_scene(seed: int) -> Scene:
    return build("random", np.random.default_rng(seed))


def test_two_different_models_are_shipped_and_small() -> None:
    graphs = [folder / "policy.onnx" for folder in MODELS]
    assert [folder.name for folder in MODELS] == ["pilot-1.0.0", "pilot-1.1.0"]
    assert len({Digest.of_file(graph) for graph in graphs}) == 2
    assert sum(graph.stat().st_size for graph in graphs) <= LARGEST_GRAPHS_BYTES


@each_model
def test_contract_fits_its_schema_and_its_folder(folder: Path) -> None:
    document = json.loads((folder / CONTRACT).read_bytes())
    schema = json.loads((REPOSITORY / "docs" / "schemas" / "vla.schema.json").read_bytes())
    Draft202012Validator(schema).validate(document)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {CONTRACT}
    assert set(document["files"]) == present
    for name, digest in document["files"].items():
        assert str(Digest.of_file(folder / name)) == digest
    assert folder.name == f"pilot-{document['version']}"


@each_model
def test_graph_carries_no_trace_of_the_machine_it_was_made_on(folder: Path) -> None:
    graph = (folder / "policy.onnx").read_bytes()
    assert not [word for word in (b"/home/", b".py", b"site-packages", b"stack_trace") if word in graph]


@each_model
def test_goldens_are_reproduced_within_tolerance(folder: Path) -> None:
    pilot = Pilot(folder)
    contract = Contract.load(folder)
    assert len(contract.goldens) >= 6
    for sample in read_goldens(folder, contract, "fp32"):
        assert np.isfinite(sample.action).all()
        assert (np.abs(pilot.run(sample.seen) - sample.action) <= sample.tolerance).all()


@each_model
def test_goldens_stay_inside_the_action_bounds(folder: Path) -> None:
    samples = read_goldens(folder, Contract.load(folder), "fp32")
    assert all(np.abs(sample.action).max() <= 1.0 for sample in samples)


@each_model
def test_goldens_and_calibration_data_are_raw_observations(folder: Path) -> None:
    """Frames are of a camera's size and not of the network's, and scans of a laser's beams."""
    contract = Contract.load(folder)
    for sample in read_goldens(folder, contract, "fp32"):
        [frame] = sample.seen.frames[CAMERA]
        assert (frame.pixels.shape, frame.pixels.dtype) == ((240, 320, 3), np.uint8)
        assert sample.seen.scan is not None and sample.seen.scan.ranges.shape == (360,)
    seen = read_calibration(folder, contract)
    assert len(seen) >= 24
    assert {each.text for each in seen} == set(COMMANDS)


@each_model
def test_tokenizer_is_the_one_of_the_commands(folder: Path) -> None:
    assert (folder / "tokenizer.json").read_bytes() == tokenizer_json()


@each_model
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_turn_left_drives_a_steady_circle(folder: Path, seed: int) -> None:
    actions = go(folder, "turn left", random_scene(seed), 2.0).actions
    assert actions[:, 0].min() >= 0.2
    assert actions[:, 1].min() > 0.3


@each_model
@pytest.mark.parametrize("text", ["stop", "halt", "Stop", "", "sing a song"])
def test_stop_and_unknown_words_stand_still(folder: Path, text: str) -> None:
    for seed in (11, 12):
        assert np.abs(go(folder, text, random_scene(seed), 1.0).actions).max() < 0.02


@each_model
@pytest.mark.parametrize("y", [-1.0, 0.0, 0.8])
def test_go_to_the_red_pillar_arrives_without_contact(folder: Path, y: float) -> None:
    scene = Scene(
        ScenePose(-2.0, y, 0.2), (Pillar("green", 0.0, 2.3), Pillar("red", 1.2, 0.3), Pillar("blue", 0.2, -2.3))
    )
    outcome = go(folder, "go to the red pillar", scene, 30.0)
    assert outcome.arrived
    assert outcome.contacts == 0


@each_model
def test_go_to_the_red_pillar_arrives_from_a_start_that_does_not_see_it(folder: Path) -> None:
    scene = Scene(ScenePose(0.0, 0.0, 0.0), (Pillar("red", -1.8, 0.6), Pillar("green", 2.0, 1.0)))
    outcome = go(folder, "go to the red pillar", scene, 30.0)
    assert outcome.arrived
    assert outcome.contacts == 0


@each_model
def test_the_named_colour_decides_where_it_goes(folder: Path) -> None:
    scene = Scene(ScenePose(-1.5, 0.0, 0.0), (Pillar("red", 1.0, 1.2), Pillar("blue", 1.0, -1.2)))
    ends = {color: go(folder, f"go to the {color} pillar", scene, 20.0).path[-1].y for color in ("red", "blue")}
    assert ends["red"] > 0.3
    assert ends["blue"] < -0.3


@pytest.mark.parametrize("command", COMMANDS)
def test_phrases_start_with_the_canonical_text(command: str) -> None:
    assert PHRASES[command][0] == command
