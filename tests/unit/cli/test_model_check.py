"""`homeport model check`: the slot's own path on a model's goldens, and everything that is wrong at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from model_registry.cli.entry import run
from model_registry.core.digest import Digest
from model_registry.packing import prepare
from stack.cli import build
from stack.models import package
from tests.fakes.authored import author
from tests.fakes.settings import ABSENT, robot_toml
from tests.fakes.tiny import add_variant, make_split_model, make_tiny_model, poison_graph, relist

Check = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    def call(*words: object) -> tuple[int, Any, str]:
        arguments = ["model", "check", *map(str, words), "--json"]
        hook = sys.excepthook
        try:
            code = run(build(arguments), arguments)
        finally:
            sys.excepthook = hook
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


@pytest.mark.parametrize("make", [make_tiny_model, make_split_model])
def test_a_model_that_answers_as_its_goldens_say_can_be_packed(
    make: Callable[[Path], Path], check: Check, tmp_path: Path
) -> None:
    folder = author(make(tmp_path / "m"))
    code, found, err = check(folder)

    assert (code, err, found["refusals"]) == (0, "", [])
    assert found["goldens"] == 2
    assert [each["name"] for each in found["dimensions"]] == ["linear_x", "angular_z"]
    assert all(each["ok"] and each["worst"] < 1e-6 for each in found["dimensions"])
    assert found["inference_ms"] > 0.0
    assert found["cadence_ms"] == 250.0
    prepare(folder)


def test_people_read_the_worst_difference_of_each_dimension(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["model", "check", str(make_tiny_model(tmp_path / "m", wrong_by=0.25))]
    code = run(build(arguments), arguments)
    out, err = capsys.readouterr()

    assert code == 5
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["dimension", "worst", "tolerance", "unit", "golden"]
    assert rows[2][:4] == ["angular_z", "0.25", "0.001", "rad/s"] and rows[2][-2:] == ["too", "far"]
    assert "2 goldens; an inference takes" in out
    assert "refused: golden/" in out and "linear_x is wrong by 0.25 m/s, and its tolerance is 0.001 m/s" in out
    assert err == "error: homeport/pilot 1.0.0: 2 things to fix, named above; then check it again\n"


def test_levels_that_are_normalised_in_another_way_than_the_goldens_were_are_found(
    check: Check, tmp_path: Path
) -> None:
    """What only a golden of raw pixels can show."""
    folder = make_tiny_model(tmp_path / "m")
    document = json.loads((folder / "vla.json").read_bytes())
    del document["observation"]["cameras"]["front"]["mean"], document["observation"]["cameras"]["front"]["std"]
    (folder / "vla.json").write_text(json.dumps(document))
    code, found, _ = check(folder)

    assert code == 5
    assert "make the recipes of observation and action say what made the goldens" in found["refusals"][0]


def test_everything_that_is_wrong_is_said_at_once(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m", wrong_by=1.0)
    (folder / "tokenizer.json").write_text("{}")
    model = onnx.load(str(folder / "policy.onnx"))
    model.opset_import[0].version = 30
    onnx.save(model, str(folder / "policy.onnx"))
    relist_digests(folder)
    robot = tmp_path / "robot.toml"
    robot.write_text(robot_toml(sources={"scan": ABSENT}, embodiment="cart"))
    code, found, _ = check(folder, "--robot", robot)

    assert code == 5
    text = "\n".join(found["refusals"])
    assert len(found["refusals"]) == 4
    for words in ("opset 30", "tokenizer.json: is not a tokenizer", "made for mobile_base", "no lidar"):
        assert words in text


def relist_digests(folder: Path) -> None:
    document = json.loads((folder / "vla.json").read_bytes())
    document["files"] = {path: str(Digest.of_file(folder / path)) for path in document["files"]}
    (folder / "vla.json").write_text(json.dumps(document))


def test_numbers_that_are_not_finite_are_refused_in_words(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    poison_graph(folder)
    code, found, _ = check(folder)

    assert (code, found["dimensions"][0]["worst"]) == (5, None)
    assert any("linear_x comes out as a number that is not finite" in each for each in found["refusals"])


def test_a_graph_that_rolls_dice_is_refused(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    model = onnx.load(str(folder / "policy.onnx"))
    [end] = [node for node in model.graph.node if list(node.output) == ["action"]]
    end.output[0] = "steady"
    model.graph.node.append(helper.make_node("RandomNormalLike", ["steady"], ["dice"], scale=0.5))
    model.graph.node.append(helper.make_node("Add", ["steady", "dice"], ["action"]))
    onnx.save(model, str(folder / "policy.onnx"))
    relist(folder)
    code, found, _ = check(folder)

    assert code == 5
    assert any("the same observation gives two answers" in each for each in found["refusals"])


def test_actions_that_a_slot_would_cut_are_a_note(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    document = json.loads((folder / "vla.json").read_bytes())
    document["action"]["dims"][0]["max"] = 0.01
    (folder / "vla.json").write_text(json.dumps(document))
    code, found, err = check(folder)

    assert code == 0
    assert any("slots cut it to -1 to 0.01" in note for note in found["notes"])
    assert "slots cut it" in err


def test_a_smaller_variant_is_run_too(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    small = add_variant(folder, "small")
    good, found, _ = check(folder)
    contract = package.Contract.load(small)
    goldens = [each for golden in contract.goldens for each in package.read_golden(small / golden.path, contract)]
    wrong = [golden._replace(action=golden.action + np.float32(1.0)) for golden in goldens]
    package.finish(small, json.loads((small / "vla.json").read_bytes()), wrong)
    relist(folder)
    bad, worse, _ = check(folder)

    assert (good, found["goldens"], found["refusals"]) == (0, 4, [])
    assert {each["model"] for each in found["dimensions"]} == {"", "small/"}
    assert bad == 5
    assert all(each.startswith("small/golden/") for each in worse["refusals"])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: author(folder, licence="?"), "vla.toml.licence: is not known yet"),
        (lambda folder: author(folder, version="one"), "vla.toml.version"),
        (lambda folder: author(folder, goldens=[]), "a model without goldens cannot be proved"),
        (lambda folder: (folder / "policy.onnx").write_bytes(b"x"), "policy.onnx: expected sha256"),
        (lambda folder: (folder / "vla.json").unlink(), "no readable vla.json"),
    ],
)
def test_what_cannot_be_read_is_a_refusal_too(
    spoil: Callable[[Path], object], words: str, check: Check, tmp_path: Path
) -> None:
    folder = make_tiny_model(tmp_path / "m")
    spoil(folder)
    code, found, _ = check(folder)

    assert code == 5
    [refusal] = found["refusals"]
    assert words in refusal


def test_a_tolerance_for_this_precision_is_needed(check: Check, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    document = json.loads((folder / "vla.json").read_bytes())
    del document["goldens"][0]["tolerance"]["fp32"]
    (folder / "vla.json").write_text(json.dumps(document))
    code, found, _ = check(folder)

    assert code == 5
    assert "no tolerance for precision fp32" in found["refusals"][0]


def test_what_is_no_folder_is_a_wrong_call(check: Check, tmp_path: Path) -> None:
    assert check(tmp_path / "none")[0] == 2
