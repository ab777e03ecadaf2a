"""`make test`: every test, in lanes: what only computes, what mostly waits, and what needs the machine for itself.

| lane | tests | how |
| --- | --- | --- |
| quick | units that start no program | one worker a core |
| real | engines that are built in a child of low priority, and robots that drive by a policy | one at a time |
| played | one real supervisor on real topics or sockets, around which the rest is played | one at a time |
| containers | robots that are containers | one at a time |
| images | images, for robots and as robots, and what is fetched for them | one at a time, behind the others |
| rigs | units on a rig or with programs of their own; a fleet of stand-ins; registries | two workers a core: they
wait; behind the others |
| alone | three robots at once, and a machine that is made busy | one at a time, and nothing beside them |

`quick` comes first, so that a mistake shows within three minutes. Then there are two tracks of lanes (`PLAN`), beside
each other. Each lane is a session of its own, because the kernel shares the processor among sessions before it shares
it among the processes of one: however many workers `rigs` has, they do not take the time of a robot that drives. In
the end nothing is left but what would not bear anything beside it. The lanes print as they go, each line with the name
of its lane; a failure is named when it happens.

    python -m tests.lanes                   everything
    python -m tests.lanes rigs              one lane, or several: one after the other
    python -m tests.lanes --fast            quick, and of the fault matrix each fault once in each scenario
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.pythons import ALIKE, REPOSITORY, units
from tests.run_folders import cleaned
from tests.testbed.engine import EngineError, find_engine

Track = tuple[str, ...]
"""Lanes that run one after the other."""
PLAN: tuple[tuple[Track, ...], ...] = (
    (("quick",),),
    (("real", "containers"), ("played", "images", "rigs")),
    (("alone",),),
)
"""One stage after the other; the tracks of a stage run beside each other."""
NAMES = tuple(lane for stage in PLAN for track in stage for lane in track)
BEHIND = {"images": 5, "rigs": 5}
"""How nice lanes are that make no robot drive."""
DOCKER = frozenset({"containers", "images"})
TESTS = REPOSITORY / "tests"
WAITING = frozenset(
    {
        "test_fleet.py",
        "test_registry_access.py",
        "test_registry_dialects.py",
        "test_registry_http.py",
        "test_registry_links.py",
        "test_unseen_answers.py",
        "test_wrong_clock.py",
    }
)
"""Integration tests without a ROS node: playbooks over stand-ins for robots, and servers in this process."""
IMAGES = frozenset({"test_arm64.py", "test_image.py", "test_rootfs.py"})
ENGINES = "engine"
"""Units of that folder that start programs: a build takes only what others leave of a core, and may not fall silent."""
ALONE = frozenset({"test_demo.py", "test_demo_interrupted.py", "test_outweighed.py"})
PLAYED = "PlayedRobot("
PROMPT = frozenset({"test_supervisor_sockets.py"})
"""Units whose clients give up after two seconds, as an operator's do: beside the many workers of `rigs` they might."""
STARTS_MAKE = frozenset({"test_makefile.py", "test_bootstrap.py"})
MATRIX = "tests/unit/agent/test_fault_matrix.py"
SABOTAGES = f"{MATRIX}::test_without_one_of_its_safeguards_the_matrix_fails"
SHARED_TIMEOUT_S = 360
"""For a test that shares the cores with many others: three times as long as for one that is alone (pyproject.toml)."""
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
CORES = len(os.sched_getaffinity(0))
NAMED = re.compile(r"FAILED (?P<test>\S.*) \((?:setup|call|teardown|collect)\): (?P<reason>.*)")
MOST_REASONS = 3
MOST_WORKERS = 24
"""Each takes some 200 MB, and loads all test files of its lane first."""


def lanes() -> dict[str, list[str]]:
    """The test files of each lane, below the repository. Each file is in one of them."""
    quick = {*units(HERE), *(f"tests/unit/{name}" for name in ALIKE - STARTS_MAKE)}
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for path in sorted(TESTS.rglob("test_*.py")):
        name = str(path.relative_to(REPOSITORY))
        found["quick" if name in quick else _lane(path)].append(name)
    return found


def _lane(path: Path) -> str:
    """The lane of a file that does not only compute."""
    folder = path.relative_to(TESTS).parts[0]
    if folder == "e2e":
        return "images" if path.name in IMAGES else "containers"
    if path.name in PROMPT:
        return "played"
    if folder == "unit":
        return "real" if path.parent.name == ENGINES else "rigs"
    if path.name in WAITING:
        return "rigs"
    if path.name in ALONE:
        return "alone"
    return "played" if PLAYED in path.read_text() else "real"


def options(lane: str) -> list[str]:
    """How the tests of a lane are spread over processes."""
    workers = {"quick": CORES, "rigs": 2 * CORES}.get(lane, 0)
    if not workers:
        return []
    return ["-n", str(min(workers, MOST_WORKERS)), "--dist", "worksteal", "-o", f"timeout={SHARED_TIMEOUT_S}"]


def command(lane: str, files: Sequence[str], *more: str) -> list[str]:
    """How a lane is run."""
    first = ["nice", "-n", str(BEHIND[lane])] if lane in BEHIND else []
    return [*first, sys.executable, "-m", "pytest", "-q", "--durations=5", *options(lane), *more, *files]


class Failures:
    """What failed in a lane, from the lines that name it when it happens (tests/conftest.py)."""

    def __init__(self) -> None:
        self._tests: dict[str, list[str]] = {}

    def read(self, line: str) -> None:
        """Take the next line that the lane printed."""
        named = NAMED.fullmatch(line.rstrip())
        if named is not None:
            self._tests.setdefault(named["reason"], []).append(named["test"])

    def lines(self) -> list[str]:
        """One line for each reason, the first one first, with the first test that had it."""
        told = []
        for reason, tests in list(self._tests.items())[:MOST_REASONS]:
            others = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            told.append(f"{tests[0]}{others}: {reason}")
        if len(self._tests) > MOST_REASONS:
            told.append(f"and {len(self._tests) - MOST_REASONS} reasons more, above")
        return told


@dataclass
class Outcome:
    """How a lane ended: pytest's exit code, its last line, and how long it took."""

    lane: str
    code: int
    says: str
    seconds: float
    failures: Failures

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
        began, last, failures = time.monotonic(), "", Failures()
        with subprocess.Popen(
            command(lane, files, *more),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            self._running.add(process)
            if lane in BEHIND:
                with suppress(OSError):  # not every kernel weighs sessions
                    Path(f"/proc/{process.pid}/autogroup").write_text(str(BEHIND[lane]))
            if self._stopped:
                process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            for line in process.stdout:
                last = line.rstrip() or last
                failures.read(line)
                print(f"[{lane}] {line}", end="", flush=True)
        self._running.discard(process)
        self.outcomes.append(Outcome(lane, process.returncode, last, time.monotonic() - began, failures))

    def beside(self, tracks: Sequence[Track], files: Mapping[str, Sequence[str]]) -> None:
        """Run the lanes of each track one after the other, and the tracks beside each other, to the end of all."""

        def follow(track: Track) -> None:
            for lane in track:
                self.run(lane, files[lane])

        with ThreadPoolExecutor(len(tracks)) as pool:
            for ended in [pool.submit(follow, track) for track in tracks]:
                ended.result()

    def stop(self, number: int, _: object) -> None:
        """Begin no other lane, and end those that run: a terminal does not tell them of Ctrl-C, nor SIGTERM."""
        self._stopped = True
        for process in tuple(self._running):
            process.send_signal(signal.SIGINT)


@contextmanager
def one_engine(chosen: Sequence[str]) -> Iterator[None]:
    """One Docker engine for all lanes that need one.

    Where none runs it is started here, since a lane that has started one would stop it under the others. Where that
    cannot be, their tests say why.
    """
    engine = None
    if DOCKER.intersection(chosen):
        with suppress(EngineError):
            engine = find_engine(say=lambda text: print(text, flush=True))
    try:
        yield
    finally:
        if engine is not None:
            engine.close()


def play(runner: Runner, chosen: Sequence[str], fast: bool) -> None:
    files = lanes()
    if fast:
        runner.run("quick", [*files["quick"], MATRIX], "--sample", "--deselect", SABOTAGES)
        return
    plan = [((lane,),) for lane in chosen] or PLAN
    with one_engine(chosen or NAMES):
        for tracks in plan:
            runner.beside(tracks, files)


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
    failed = [outcome for outcome in runner.outcomes if outcome.code != 0]
    for outcome in failed:
        print(*(f"{outcome.lane}: {line}" for line in outcome.failures.lines()), sep="\n", flush=True)
    if failed:
        names = ", ".join(outcome.lane for outcome in failed)
        print(f"error: failed in {names}; all that failed is above, in lines that say FAILED", file=sys.stderr)
    return int(bool(failed) or not runner.outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
