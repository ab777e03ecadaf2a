"""`make test`: every test, in lanes: what only computes, what mostly waits, and what needs the machine for itself.

| lane | tests | how |
| --- | --- | --- |
| quick | units that start no program | one worker a core |
| rigs | units on a rig or with programs of their own; a fleet of stand-ins; registries | three workers a core: they
wait |
| real | engines that are built in a child of low priority, and robots on real topics | one at a time |
| containers | images, and robots that are containers | one at a time |

One lane after the other: `quick` first, so that a mistake shows within three minutes, and robots that drive last, each
alone, because their control loops fall silent where they share a core. The lanes print as they go, each line with the
name of its lane; a failure is named when it happens.

    python -m tests.lanes                   everything
    python -m tests.lanes rigs              one lane, or several: one after the other
    python -m tests.lanes --fast            quick, and of the fault matrix each fault once in each scenario
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.pythons import ALIKE, REPOSITORY, units
from tests.run_folders import cleaned

TESTS = REPOSITORY / "tests"
NAMES = ("quick", "rigs", "real", "containers")
WAITING = frozenset(
    {
        "test_fleet.py",
        "test_registry_access.py",
        "test_registry_dialects.py",
        "test_registry_http.py",
        "test_registry_links.py",
        "test_wrong_clock.py",
    }
)
"""Integration tests without a ROS node: playbooks over stand-ins for robots, and servers in this process."""
ENGINES = "engine"
"""Units of that folder that start programs: a build takes only what others leave of a core, and may not fall silent."""
LAST = ("test_faults.py", "test_demo.py", "test_undisturbed.py")
"""They suffer most from a busy machine: at the end of `real` nothing of the other lanes is left."""
STARTS_MAKE = frozenset({"test_makefile.py", "test_bootstrap.py"})
MATRIX = "tests/unit/agent/test_fault_matrix.py"
SABOTAGES = f"{MATRIX}::test_without_one_of_its_safeguards_the_matrix_fails"
SHARED_TIMEOUT_S = 360
"""For a test that shares a core with two others: three times as long as for one that is alone (pyproject.toml)."""
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
CORES = len(os.sched_getaffinity(0))
MOST_WORKERS = 24
"""Each takes some 200 MB, and loads all test files of its lane first."""


def lanes() -> dict[str, list[str]]:
    """The test files of each lane, below the repository. Each file is in one of them."""
    quick = {*units(HERE), *(f"tests/unit/{name}" for name in ALIKE - STARTS_MAKE)}
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for path in sorted(TESTS.rglob("test_*.py"), key=lambda path: (_turn(path.name), path)):
        name = str(path.relative_to(REPOSITORY))
        folder = path.relative_to(TESTS).parts[0]
        if folder == "unit":
            program = "real" if path.parent.name == ENGINES else "rigs"
            found["quick" if name in quick else program].append(name)
        elif folder == "integration":
            found["rigs" if path.name in WAITING else "real"].append(name)
        elif folder == "e2e":
            found["containers"].append(name)
    return found


def _turn(name: str) -> int:
    return LAST.index(name) + 1 if name in LAST else 0


def options(lane: str) -> list[str]:
    """How the tests of a lane are spread over processes."""
    workers = {"quick": CORES, "rigs": 3 * CORES}.get(lane, 0)
    if not workers:
        return []
    return ["-n", str(min(workers, MOST_WORKERS)), "--dist", "worksteal", "-o", f"timeout={SHARED_TIMEOUT_S}"]


@dataclass
class Outcome:
    """How a lane ended: pytest's exit code, its last line, and how long it took."""

    lane: str
    code: int
    says: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.lane:<11} {self.seconds / 60:5.1f} min  {self.says.strip('= ')}"


class Runner:
    """Runs lanes and prints what they say, until one asks it to stop."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, lane: str, files: Sequence[str], *more: str) -> None:
        """One pytest, to its end."""
        if self._stopped:
            return
        began, last = time.monotonic(), ""
        argv = [sys.executable, "-m", "pytest", "-q", "--durations=5", *options(lane), *more, *files]
        with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, errors="replace") as process:
            self._running.add(process)
            assert process.stdout is not None
            for line in process.stdout:
                last = line.rstrip() or last
                print(f"[{lane}] {line}", end="", flush=True)
        self._running.discard(process)
        self.outcomes.append(Outcome(lane, process.returncode, last, time.monotonic() - began))

    def stop(self, number: int, _: object) -> None:
        """Begin no other lane. A terminal tells pytest of Ctrl-C itself; of SIGTERM it hears by this."""
        self._stopped = True
        for process in tuple(self._running):
            if number == signal.SIGTERM:
                process.send_signal(signal.SIGINT)


def play(runner: Runner, chosen: Sequence[str], fast: bool) -> None:
    files = lanes()
    if fast:
        runner.run("quick", [*files["quick"], MATRIX], "--sample", "--deselect", SABOTAGES)
    elif chosen:
        for lane in chosen:
            runner.run(lane, files[lane])
    else:
        for lane in NAMES:
            runner.run(lane, files[lane])


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lanes", description="Run the tests in lanes.")
    parser.add_argument("lanes", nargs="*", metavar="LANE", help=f"one of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--fast", action="store_true", help="only what takes at most four minutes")
    chosen = parser.parse_args(words)
    for lane in chosen.lanes:
        if lane not in NAMES:
            parser.error(f"{lane}: no such lane; there are {', '.join(NAMES)}")
    runner, began = Runner(), time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runner.stop)
    with cleaned():
        play(runner, chosen.lanes, chosen.fast)
    print(*runner.outcomes, f"{'all':<11} {(time.monotonic() - began) / 60:5.1f} min", sep="\n")
    failed = [outcome.lane for outcome in runner.outcomes if outcome.code != 0]
    if failed:
        print(f"error: failed in {', '.join(failed)}; what failed is above, in lines that say FAILED", file=sys.stderr)
    return int(bool(failed) or not runner.outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
