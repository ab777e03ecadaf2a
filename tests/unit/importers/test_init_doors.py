"""Foreign interfaces through `homeport model init`: nothing is taken for what it is not, and what is
drafted of the graphs is what the model needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomllib

from model_registry.packing import prepare
from stack.cli.checking import check
from stack.importers.hints import Hints, Words
from stack.importers.init import init
from tests.fakes.authored import write_toml
from tests.fakes.doors import INTERFACES, Interface, make_interface

WITH_GRAPHS = [each for each in INTERFACES if each.refused in (None, "linear_y", "joint_position")]
"""Of the others no contract can be written, and so no graph is made."""


def kind(source: str) -> str:
    """A camera is a camera, whatever it is called."""
    return "cameras" if source.startswith("cameras.") else source


def drafted(folder: Path, true: Path) -> dict[str, Any]:
    hints = Hints(words=Words.load(true / "tokenizer.json"))
    init([true / "policy.onnx"], folder, hints)
    return tomllib.loads((folder / "vla.toml").read_text())


@pytest.mark.parametrize("interface", WITH_GRAPHS, ids=lambda each: each.name)
def test_an_input_is_what_it_is_or_is_asked(interface: Interface, tmp_path: Path) -> None:
    true = make_interface(tmp_path / "true", interface)
    found = drafted(tmp_path / "drafted", true)

    [graph] = found["graphs"]
    guessed = {name: kind(source) for name, source in graph["inputs"].items()}
    wrong = {name: source for name, source in guessed.items() if source not in ("?", kind(interface.inputs[name]))}
    assert guessed.keys() == interface.inputs.keys()
    assert wrong == {}


@pytest.mark.parametrize("interface", WITH_GRAPHS, ids=lambda each: each.name)
def test_with_what_a_person_writes_the_drafted_graphs_are_packed_and_answer(
    interface: Interface, tmp_path: Path
) -> None:
    true = make_interface(tmp_path / "true", interface)
    folder = tmp_path / "drafted"
    found = drafted(folder, true)
    known = json.loads((true / "vla.json").read_text())
    written = {key: known[key] for key in known.keys() - {"graphs", "files"}}
    [graph] = found["graphs"]
    graph["inputs"] = interface.inputs
    for name in ("norm_stats.json", "golden.npz"):
        (folder / name).write_bytes((true / name).read_bytes())
    write_toml(folder, {**written, "graphs": [graph]})

    prepare(folder)
    made = check(folder)
    assert made.refusals == []
    assert made.goldens == 1
