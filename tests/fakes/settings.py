"""The settings of a robot in tests: robot.toml as the role writes it, with what a test wants different."""

from __future__ import annotations

import json
from collections.abc import Mapping

BASE: dict[str, object] = {
    "schema": 1,
    "name": "robot-1",
    "site": "lab",
    "embodiment": "mobile_base",
    "row": "process",
    "battery_floor": 0.2,
    "limits": {"linear": 0.5, "angular": 1.0, "linear_acceleration": 1.0, "angular_acceleration": 4.0},
    "sources": {
        "scan": {"present": True, "max_age_ms": 500},
        "odom": {"present": True, "max_age_ms": 500},
        "battery": {"present": True, "max_age_ms": 5000},
    },
    "footprint": {"radius": 0.2},
    "base": {"timeout_s": 0.25},
}
ABSENT = {"present": False}
"""A source that a robot does not have."""


def robot_toml(**changes: object) -> str:
    """The text of robot.toml.

    `changes` replace keys of BASE or add to them; a table changes the keys that it names, and a source becomes what is
    given for it: `robot_toml(name="bay-1", sources={"battery": ABSENT}, lidar={"yaw": 3.14})`.
    """
    whole = dict(BASE)
    for key, value in changes.items():
        known = whole.get(key)
        whole[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return toml(whole)


def toml(table: Mapping[str, object], path: str = "") -> str:
    """TOML of nested tables: values first, then each table under its own header."""
    values = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    head = f"[{path}]\n" if path and values else ""
    text = head + "".join(f"{line}\n" for line in values)
    for key, value in table.items():
        if isinstance(value, dict):
            text += toml(value, f"{path}.{key}" if path else key)
    return text
