"""The demo's page: trajectories, the tick timeline around the cutover, latencies.

Self-contained HTML with drawings in SVG.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.testbed.ticks import PERIOD_S, Cutover, live_commands

TRACE_PERIOD_S = 0.25
COLOURS = ("#4178c8", "#d9822b", "#9a63c9")
"""Of the releases, in their order. Like all colours here they can be told apart on white and on black."""
OTHER = "#8a939c"
PILLARS = {"red": "#d33a2c", "green": "#2f9e44", "blue": "#2f6fde", "yellow": "#e0b400"}


def metres(trace: list[dict[str, Any]]) -> float:
    """Length of a driven path in metres."""
    return round(sum(math.dist((a["x"], a["y"]), (b["x"], b["y"])) for a, b in itertools.pairwise(trace)), 1)


def motion(cut: Cutover) -> str:
    """Whether the robot moved while its policy was changed: a robot that stands shows little of it."""
    return "moving" if cut.moving else "not moving throughout"


def late(missed_ticks: int) -> str:
    """What missed ticks say of the machine, in one sentence; nothing where none was missed."""
    if not missed_ticks:
        return ""
    ticks = "1 tick was" if missed_ticks == 1 else f"{missed_ticks} ticks were"
    return (
        f"{ticks} missed: this machine did not give three robots their time, which a robot of their own has. "
        "Run `make demo` again when it is quiet."
    )


def changes(records: list[dict[str, Any]], colours: dict[str, str]) -> list[tuple[float, str]]:
    """From when on (monotonic seconds) the release of which colour drove, as a listener heard it.

    `colours` is by the first 12 characters of a release.
    """
    found: list[tuple[float, str]] = []
    for at_s, _, release in live_commands(records):
        colour = colours.get(release, OTHER)
        if not found or found[-1][1] != colour:
            found.append((at_s, colour))
    return found


def drawn_map(
    trace: list[dict[str, Any]], changes: list[tuple[float, str]], arena: tuple[float, float]
) -> dict[str, Any]:
    """The arena from above. `changes` are (monotonic seconds, colour) in order; metres, y up."""
    width, height = arena
    paths: list[dict[str, str]] = []
    for index, (start, colour) in enumerate(changes):
        end = changes[index + 1][0] if index + 1 < len(changes) else math.inf
        points = " ".join(f"{r['x']:.2f},{-r['y']:.2f}" for r in trace if start <= r["t"] <= end + TRACE_PERIOD_S)
        if points:
            paths.append({"points": points, "colour": colour})
    seen: dict[tuple[str, float, float], float] = {}
    for record in trace:
        for colour, x, y in record.get("pillars", []):
            seen[(colour, round(x, 2), round(y, 2))] = record["t"]
    last = max(seen.values(), default=0.0)
    pillars = [
        {"x": x, "y": -y, "colour": PILLARS.get(colour, OTHER), "opacity": 1 if time == last else 0.25}
        for (colour, x, y), time in seen.items()
    ]
    return {
        "view": f"{-width / 2 - 0.1} {-height / 2 - 0.1} {width + 0.2} {height + 0.2}",
        "left": -width / 2, "top": -height / 2, "width": width, "height": height,
        "paths": paths, "pillars": pillars,
        "start": (trace[0]["x"], -trace[0]["y"]), "end": (trace[-1]["x"], -trace[-1]["y"]),
    }  # fmt: skip


def drawn_timeline(cut: Cutover, colours: dict[str, str], top: float) -> list[dict[str, Any]]:
    """Dots of one robot's cutover; `colours` maps the first 12 hex characters of a release to its colour."""
    return [
        {
            "x": round(500 + t * 460, 1),
            "y": round(100 - 88 * min(abs(v) / top, 1.0), 1),
            "colour": colours.get(r, OTHER),
        }
        for t, v, r in zip(cut.times_s, cut.speeds, cut.releases, strict=True)
    ]


def write(path: Path, **values: Any) -> None:
    """Render the page."""
    bands = [round(40 + index * 2 * PERIOD_S * 460, 1) for index in range(round(1 / PERIOD_S))]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True
    )
    page = environment.get_template("report.html.j2").render(
        pillars=PILLARS,
        timeline={"bands": bands, "band_width": round(PERIOD_S * 460, 1), "top": values["top_speed"]},
        **values,
    )
    path.write_text(page)
