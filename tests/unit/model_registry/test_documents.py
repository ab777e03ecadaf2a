"""Strict documents: whatever bytes come, the answer is a value or one HomeportError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_registry.core.contract import Contract
from model_registry.core.documents import dump, parse
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.release import Release, payload
from model_registry.manifests import Manifest
from tests.fakes.model import contract, make_model

RELEASE: dict[str, Any] = {
    "schema": 1,
    "name": "pilot",
    "version": "1.0.0",
    "counter": 3,
    "minimum_counter": 1,
    "images": {
        "process/amd64": {
            "repository": "releases/pilot", "digest": f"sha256:{'a' * 64}", "config_digest": None,
            "lock": f"sha256:{'b' * 64}"
        }
    },
    "model": {"repository": "models/pilot", "digest": f"sha256:{'c' * 64}"},
    "engine": {
        "backends": ["onnxruntime"], "precision": "fp32", "budget": {"inference_p99_ms": 50.0, "peak_memory_bytes": 1}
    },
    "config": {"profile": "optimized", "overrides": {"max_speed": 0.3}},
    "compatibility": {
        "rows": ["process"], "l4t": [], "embodiment": "diff_drive", "supervisor_protocol": 1, "minimum_agent": "0.1.0"
    },
}  # fmt: skip


def changed(path: str, value: object) -> bytes:
    document = json.loads(dump(RELEASE))
    place = document
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return dump(document)


def test_a_release_is_named_by_its_bytes() -> None:
    assert Release.parse(dump(RELEASE)).digest == Release.parse(payload(RELEASE)).digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2), ("schema", True), ("name", "Pilot"), ("name", "../pilot"), ("version", "1.0"),
        ("version", "v1.0.0"),
        ("version", "1.0.0+b"), ("version", "1.0.0-" + "x" * 80), ("counter", 0), ("counter", 1.5), ("counter", "3"),
        ("minimum_counter", -1), ("images", []), ("images", {"process": {}}), ("images.process/amd64.digest", "1.0.0"),
        ("images.process/amd64.extra", 1), ("model", None), ("model.digest", f"sha256:{'C' * 64}"),
        ("model.digest", f"sha256:{'c' * 63}"), ("model.repository", "/etc"), ("engine.backends", []),
        ("engine.backends", ["magic"]), ("engine.precision", "fp64"), ("engine.budget.inference_p99_ms", 0),
        ("engine.budget.peak_memory_bytes", 0), ("engine.budget.peak_memory_bytes", None), ("config.profile", "fast"),
        ("config.overrides", {"x": []}), ("compatibility.supervisor_protocol", 0),
        ("compatibility.minimum_agent", "new"),
        ("compatibility.rows", "process"), ("surprise", 1),
    ],
)  # fmt: skip
def test_a_wrong_release_is_refused_naming_the_place(path: str, value: object) -> None:
    with pytest.raises(UsageError, match="release"):
        Release.parse(changed(path, value))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nul", b"\xff", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b"NaN", b"[Infinity]", b"[-Infinity]",
        b"[1e999]",
        b"[" * 20 + b"]" * 20, b"[" * 100_000, b"1" * 5000, b"{} {}", b"\xef\xbb\xbf{}", b'"' + b"x" * (1 << 20) + b'"',
    ],
    ids=lambda data: repr(data[:16]),
)  # fmt: skip
def test_bytes_that_two_parsers_could_read_differently_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse(data, "document")


def test_numbers_that_are_not_finite_never_become_a_release() -> None:
    with pytest.raises(UsageError, match="not what a release can hold"):
        payload({**RELEASE, "config": {"profile": "optimized", "overrides": {"x": float("inf")}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_value_or_a_homeport_error(data: bytes) -> None:
    for read in (Release.parse, Contract.parse, lambda text: Manifest.parse(text, "m"), lambda text: parse(text, "d")):
        try:
            read(data)
        except HomeportError as error:
            assert str(error)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [path, *(place for key, child in pairs for place in places(child, (*path, key)))]


@settings(max_examples=300)
@given(st.data())
def test_a_release_with_anything_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(dump(RELEASE))
    *parents, last = data.draw(st.sampled_from(places(document)[1:]))
    place = document
    for key in parents:
        place = place[key]
    place[last] = data.draw(JSON)
    try:
        Release.parse(json.dumps(document).encode())
    except HomeportError as error:
        assert "\n" not in str(error)


def test_a_contract_with_anything_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    fields = contract(make_model(tmp_path / "m"))
    for *parents, last in places(fields)[1:]:
        for value in (None, True, -1, 0, 10**400, "", "\x00", "../x", [], [[]], {}, {"": None}):
            document: Any = json.loads(json.dumps(fields))
            place = document
            for key in parents:
                place = place[key]
            place[last] = value
            try:
                Contract.parse(json.dumps(document).encode())
            except HomeportError as error:
                assert str(error)
