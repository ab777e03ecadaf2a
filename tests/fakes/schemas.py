"""Validate documents against docs/schemas. Use `check(document, "control", "status")` for a part below `$defs`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@cache
def _registry() -> Registry[object]:
    documents = [json.loads(path.read_text()) for path in FOLDER.glob("*.schema.json")]
    return Registry().with_resources([(document["$id"], Resource.from_contents(document)) for document in documents])


@cache
def _validator(name: str, part: str) -> Draft202012Validator:
    reference = f"homeport:{name}" + (f"#/$defs/{part}" if part else "")
    return Draft202012Validator({"$ref": reference}, registry=_registry())


def check(document: object, name: str, part: str = "") -> None:
    """Raises jsonschema.ValidationError naming the place that does not fit."""
    _validator(name, part).validate(document)
