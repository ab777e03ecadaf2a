"""The compatibility table of README.md, generated from the rows so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Mapping

from images.lock import Lock
from images.platforms import Row
from model_registry.core.errors import UsageError

BEGIN = "<!-- rows -->"
END = "<!-- /rows -->"
_HEAD = ("row", "for", "arch", "L4T (exact)", "CUDA", "TensorRT", "ROS 2", "locked", "built", "run", "status")


def rendered(rows: Mapping[str, Row], lock: Lock) -> str:
    lines = [_HEAD, ("---",) * len(_HEAD), *(_cells(row, lock) for row in rows.values())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row, lock: Lock) -> tuple[str, ...]:
    locked = [arch for arch in row.arches if f"{row.name}/{arch}" in lock.entries]
    ros = ", ".join(f"{row.ros} ({arch})" for arch in row.arches if row.ros_from[arch] != "none")
    jetpack = f", JetPack {row.jetpack}" if row.jetpack else ""
    texts = (
        ", ".join(row.arches),
        ", ".join(row.l4t),
        row.cuda,
        row.tensorrt,
        ros,
        ", ".join(locked),
        row.built,
        row.run,
    )
    return (f"`{row.name}`", row.modules + jetpack, *(text or "–" for text in texts), row.status)


def replaced(readme: str, rows: Mapping[str, Row], lock: Lock) -> str:
    """The README with the table between its markers. Raises UsageError when a marker is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"README.md: expected {BEGIN} and {END} around the table of rows; put them back")
    return f"{before}{BEGIN}\n{rendered(rows, lock)}\n{END}{after}"
