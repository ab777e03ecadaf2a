"""The version of this code: the VERSION file, packed beside this module in a wheel or zipapp, at the top of a checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def version() -> str:
    """The version as it stands in VERSION, such as `0.1.0`."""
    packed = resources.files("model_registry.core") / "VERSION"
    text = packed.read_text() if packed.is_file() else (Path(__file__).parents[2] / "VERSION").read_text()
    return text.strip()
