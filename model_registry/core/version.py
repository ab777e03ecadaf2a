"""The version of this code, from the file VERSION.

It is packed beside this module in a wheel or zipapp, and lies at the top of a checkout.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path


def version() -> str:
    """The version as it stands in VERSION, such as `0.1.0`."""
    try:
        packed = pkgutil.get_data("model_registry.core", "VERSION")
    except OSError:
        packed = None
    return (packed or (Path(__file__).parents[2] / "VERSION").read_bytes()).decode().strip()
