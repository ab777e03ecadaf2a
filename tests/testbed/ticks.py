"""Count missed ticks in what the listener wrote down (the definition is in docs/architecture.md, "How figures are
taken").
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PERIOD_S = 0.05
MOVING_MPS = 0.2
PAIR_S = 0.01


@dataclass(frozen=True)
class Cutover:
    """One cutover as the listener saw it. `gaps_ms` are the distances between commands that came from a live action."""

    moving: bool
    missed_ticks: int
    max_gap_ms: float
    times_s: tuple[float, ...]
    speeds: tuple[float, ...]
    releases: tuple[str, ...]


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a listener's file; a torn last line is left out."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def live_commands(records: list[dict[str, Any]]) -> list[tuple[float, float, str]]:
    """(arrival, v, release) of every `/cmd_vel` that is not zero and was derived from a live action of a slot."""
    commands = [r for r in records if r["k"] == "cmd"]
    applied = [r for r in records if r["k"] == "applied"]
    times = [r["t"] for r in applied]
    live = []
    for command in commands:
        near = bisect_right(times, command["t"] + PAIR_S)
        match = next(
            (r for r in reversed(applied[max(0, near - 3) : near]) if (r["v"], r["w"]) == (command["v"], command["w"])),
            None,
        )
        if match is not None and match["id"] and (command["v"], command["w"]) != (0.0, 0.0):
            live.append((command["t"], command["v"], match["id"].split("/")[0]))
    return live


def cutover(records: list[dict[str, Any]], at_s: float, before_s: float = 1.0, after_s: float = 1.0) -> Cutover:
    """Look at the time around `at_s` (monotonic seconds, the tick at which the supervisor changed the slot)."""
    start, end = at_s - before_s, at_s + after_s
    live = [item for item in live_commands(records) if start - PERIOD_S <= item[0] <= end + PERIOD_S]
    times = [item[0] for item in live]
    speeds = [abs(r["v"]) for r in records if r["k"] == "odom" and start <= r["t"] <= end]
    missed = 0
    for index in range(round((end - start) / PERIOD_S)):
        left = start + index * PERIOD_S
        if bisect_right(times, left + PERIOD_S) == bisect_right(times, left):
            missed += 1
    edges = [start, *[t for t in times if start <= t <= end], end]
    gap = max(b - a for a, b in itertools.pairwise(edges))
    shown = [item for item in live if start <= item[0] <= end]
    return Cutover(
        moving=bool(speeds) and min(speeds) >= MOVING_MPS,
        missed_ticks=missed,
        max_gap_ms=round(gap * 1000, 2),
        times_s=tuple(round(item[0] - at_s, 4) for item in shown),
        speeds=tuple(item[1] for item in shown),
        releases=tuple(item[2] for item in shown),
    )
