"""docs/schemas/vla.schema.json and the parser accept and refuse the same documents."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import ValidationError

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError
from tests.fakes.contracts import Document, arm, base, changed, diffusion, read
from tests.fakes.schemas import check

DOCUMENTS = {"arm": arm(), "base": base(), "diffusion": diffusion()}
Place = tuple[str | int, ...]

MORE_THAN_A_SCHEMA_SAYS = re.compile(
    "|".join(
        (
            r"expected a whole number, got -?(\d+\.0|\de\+\d+)",
            "too large a number",
            "expected a plain relative path, got",
            "is not a kind of file that models may carry",
            "is used and (is )?not ",
            "numbers are normalised, name the file",
            "this program does not know",
            "are more numbers than a robot prepares",
            "numbers each, one for each channel",
            "must rise, end with 0",
            "a goal is one image",
            "keeps its levels",
            "is less than the .* numbers of the parts",
            "name each (number of the state|dimension|output) once",
            "each with an id of its own",
            "is more than the horizon of",
            "(a base has no dimension|of a base is in|is added to a state)",
            "(actions are added to the state|and the state that it is added to)",
            "goes from .* min must be below max",
            "nothing is called",
            "the graph has no input",
            "holds another number of elements",
            "is an observation already",
            "reads what is new each",
            "no graph reads",
            "it begins with noise",
            "numbers for .* (times|dimensions); give one for each",
            "needs whole numbers",
            "only the last one may be 1",
            "must be numbers that a graph gives each step",
            "no rows of numbers",
            "must name one column for each",
            "is no column of",
            "is an action's",
            "rows; a horizon of",
        )
    )
)


def agree(document: object) -> None:
    """Both accept it or both refuse it, but for what only the parser compares."""
    try:
        Contract.parse(json.dumps(document).encode())
        said = None
    except HomeportError as error:
        said = str(error)
    try:
        check(document, "vla")
        complaint = None
    except ValidationError as error:
        complaint = f"{error.json_path}: {error.message}"[:300]
    if said is None:
        assert complaint is None, f"read, and the schema refuses it: {complaint}"
    elif complaint is None:
        assert MORE_THAN_A_SCHEMA_SAYS.search(said), f"the schema accepts it, and it is refused: {said}"


def places(value: object, path: Place = ()) -> list[Place]:
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [path, *(place for key, child in pairs for place in places(child, (*path, key)))]


def at(document: Any, place: Place) -> Any:
    for key in place:
        document = document[key]
    return document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_sound_documents_keep_to_both(name: str) -> None:
    check(DOCUMENTS[name], "vla")
    read(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_key_may_be_left_out_or_null_for_both_or_for_none(name: str) -> None:
    refused = 0
    for *parents, last in places(DOCUMENTS[name])[1:]:
        for gone in (True, False):
            document = copy.deepcopy(DOCUMENTS[name])
            if gone:
                del at(document, tuple(parents))[last]
            else:
                at(document, tuple(parents))[last] = None
            agree(document)
            refused += not accepted(document)
    assert refused > 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_key_that_is_not_known_is_refused_by_both_wherever_it_stands(name: str) -> None:
    data = {"inputs", "shapes", "tolerance", "files", "cameras"}  # whose keys are names
    for place in places(DOCUMENTS[name]):
        inner = at(DOCUMENTS[name], place)
        if not isinstance(inner, dict) or (place and place[-1] in data):
            continue
        document = copy.deepcopy(DOCUMENTS[name])
        at(document, place)["surprise"] = 1
        with pytest.raises(HomeportError, match="unknown key 'surprise'"):
            read(document)
        with pytest.raises(ValidationError):
            check(document, "vla")


WRONG = (True, 0, -1, 1, 0.5, 2.0, 1e300, "", "x", "../x", [], [1], [[]], {}, {"": 1}, {"x": "x"})


@pytest.mark.parametrize("name", DOCUMENTS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_anything_in_any_place_is_read_by_both_or_refused(name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from(places(document)[1:]))
        others = st.sampled_from([at(DOCUMENTS[name], place) for place in places(DOCUMENTS[name])])
        at(document, tuple(parents))[last] = copy.deepcopy(data.draw(st.sampled_from(WRONG) | others))
        agree(document)


ENDS: list[tuple[str, str, list[Any]]] = [
    ("arm", "observation.cameras.top.width", [0, 1]),
    ("arm", "observation.cameras.wrist.pad", [-1, 0, 255, 256]),
    ("arm", "observation.cameras.wrist.divisor", [9e-7, 1e-6, 65535, 65536]),
    ("arm", "observation.cameras.wrist.every_s", [0.0009, 0.001, 2, 10.1]),
    ("arm", "observation.cameras.wrist.frames", [[], [0], [1, 0], [-1, 0], list(range(-32, 1)), list(range(-31, 1))]),
    ("arm", "observation.cameras.wrist.std", [[], [1, 1, 0], [1, 1, 1e-9]]),
    ("arm", "observation.state.pad_to", [0, 2, 3]),
    ("arm", "observation.text.template", ["", "{text}", "a\n{text}\nb", "{text} {text}", "{tex}", "\n{text}{text}"]),
    ("arm", "observation.text.pad_id", [-1, 0]),
    ("arm", "observation.lidar.max_range_m", [0.009, 0.01]),
    ("arm", "observation.noise.shape", [[], [0], [1, 12, 6]]),
    ("arm", "observation.prefix", [0, 1, 10]),
    ("arm", "graphs.0.id", ["", "_a", "a" * 64, "a" * 65, "a.b", "ä", "1a"]),
    ("arm", "graphs.1.shapes.delay", [[], [1], [0], [1, 1, 1]]),
    ("arm", "loop.times", [[], [1], [1, 0], [0] * 1001, [0] * 1002]),
    ("arm", "output.columns", [[], [0, 0], [-1, 0], [0, 1]]),
    ("arm", "action.control_hz", [0.09, 0.1, 1000, 1000.1]),
    ("arm", "goldens.0.tolerance.fp32", [0, 1e-9, [], [1], [1, 1], [1, 0], "1"]),
    ("arm", "goldens", [[]]),
    ("arm", "version", ["1.0.0", "1.0", "01.0.0", f"1.0.0-{'x' * 58}", f"1.0.0-{'x' * 59}"]),
    ("arm", "name", ["a", "a/b", "a--b", "a..b", "/a", "a" * 200, "a" * 201]),
    ("arm", "files/one.npz", [f"sha256:{'a' * 64}", f"sha256:{'A' * 64}"]),
    ("diffusion", "loop.times", [[], [0], [0] * 1000]),
    ("diffusion", "loop.alphas", [[], [1], [0.1, 0.2, 0.3, 1.1], [0, 0.2, 0.3, 1], [0.1, 0.2, 0.3, 1]]),
    ("diffusion", "loop.clip", [9e-7, 1e-6, 1e9]),
    ("base", "observation.cameras", [{}, None, {"a b": {}}, {"a" * 65: {"width": 1, "height": 1}}]),
]


@pytest.mark.parametrize(("name", "place", "values"), ENDS, ids=[f"{name}: {place}" for name, place, _ in ENDS])
def test_ranges_end_at_the_same_value(name: str, place: str, values: list[Any]) -> None:
    for value in values:
        agree(changed(DOCUMENTS[name], place, value))


def accepted(document: Document) -> bool:
    try:
        read(document)
    except HomeportError:
        return False
    return True
