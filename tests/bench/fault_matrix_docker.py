"""The fault matrix on bench robots.

These are containers with systemd, sshd, their own Docker and a registry, and releases that are images.

Words after the command pick points (`switch`, `COMMIT`, `power_cut`). FULL=1 plays all of them on two robots, and goes
on where a start before it was ended. Baseline: Mender's 33 kill cases in its own unit tests.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from tests.bench.harness import FRESH, FULL, Noise, Trials, report
from tests.testbed.bench.fleet import Bench, passing
from tests.testbed.bench.points import Outcome, Range, points
from tests.testbed.engine import EngineError
from tests.testbed.scenarios import Point

BENCH, PART = "fault_matrix_docker", "points"
BASELINES: dict[str, object] = {"mender_kill_cases": 33}
ROBOTS = ("alder", "birch")
QUICK = (
    Point("switch", "WAIT:intent", "docker_killed"),
    Point("switch", "COMMIT:done", "power_cut_before"),
    Point("bad", "ROLLBACK:intent", "kill_after"),
    Point("rollback", "WAIT:intent", "source_cut"),
)


class Played:
    """The points that are still to play, and the outcomes so far, with those of an earlier start that was ended."""

    def __init__(self, wanted: list[Point], trials: Trials) -> None:
        self._trials, self._lock = trials, threading.Lock()
        earlier = (Outcome(Point(**each.pop("point")), **each) for each in map(dict, trials.kept(PART)))
        self.outcomes = [outcome for outcome in earlier if outcome.point in wanted]
        known = {outcome.point for outcome in self.outcomes}
        self._left = [point for point in wanted if point not in known]

    def take(self, suits: Callable[[Point], bool]) -> Point | None:
        """The next one that a robot can play."""
        with self._lock:
            found = next(filter(suits, self._left), None)
            if found is not None:
                self._left.remove(found)
            return found

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)
            print(line(outcome), file=sys.stderr, flush=True)
            self._trials.keep(PART, asdict(outcome))


def line(outcome: Outcome) -> str:
    """One row of the table."""
    verdict = "ok" if outcome.ok else "NOT OK" if outcome.fired else "NOT FIRED"
    why = "; ".join([*outcome.wrong, outcome.why])
    return f"{outcome.point!s:48} {outcome.ended:8} {outcome.seconds:5.1f} s  {verdict:9} {why}"


def play(bench: Bench, names: tuple[str, ...], played: Played) -> None:
    """On one robot, or on two of which the second has a disk that can be filled.

    What interrupts it is heard after the points that are being played.
    """
    bench.up(names)
    ended = threading.Event()

    def on(name: str) -> None:
        own = Range(bench, bench.robots[name], own_disk=name != ROBOTS[0])
        own.prepare()
        while not ended.is_set() and (point := played.take(own.suits)) is not None:
            played.add(own.play(point))

    with ThreadPoolExecutor(len(names)) as pool:
        try:
            list(pool.map(on, names))
        finally:
            ended.set()


def figures(outcomes: list[Outcome]) -> dict[str, object]:
    seconds = [outcome.seconds for outcome in outcomes]
    return {
        "points": len(outcomes),
        "fired": sum(outcome.fired for outcome in outcomes),
        "ok": sum(outcome.ok for outcome in outcomes),
        "median_s": round(statistics.median(seconds), 1),
        "longest_s": round(max(seconds), 1),
    }


def main(words: list[str]) -> int:
    everything = FULL or bool(words)
    wanted = [point for point in (points() if everything else QUICK) if all(word in str(point) for word in words)]
    trials = Trials(BENCH, fresh=FRESH or bool(words))
    played = Played(wanted, trials)
    began = time.monotonic()
    with trials.noise():
        try:
            with passing("homeport-points") as bench:
                play(bench, ROBOTS if everything else ROBOTS[:1], played)
        except EngineError as error:
            print(f"not run: {error}", file=sys.stderr)
            report(BENCH, {}, BASELINES, Noise(), ran=False)
            return 0
    found = {**figures(played.outcomes), "seconds": round(time.monotonic() - began)}
    histogram = Counter(outcome.point.fault for outcome in played.outcomes if outcome.ok)
    trials.report({BENCH: found, "ok_by_fault": dict(histogram)}, BASELINES)
    return int(found["ok"] != len(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
