"""A list of sources as it is written in one setting: `oci:FOLDER` and `https://HOST[/NAMESPACE]`, commas between."""

from __future__ import annotations

import re

_BETWEEN = re.compile(r",\s*(?=https?://|oci:)")


def source_names(text: str) -> tuple[str, ...]:
    """The sources of a list, in order; a comma in the name of a folder divides nothing."""
    return tuple(_BETWEEN.split(text))


def registries(text: str) -> list[str]:
    """Those of the list that are registries with TLS."""
    return [name for name in source_names(text.strip()) if name.startswith("https://")]
