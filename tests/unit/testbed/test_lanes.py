"""`make test` runs every test file in one lane, quick ones first, and ends with what went wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import with_torch
from tests.fakes.ros import wait_until
from tests.lanes import (
    ALONE,
    BEHIND,
    IMAGES,
    MOST_WORKERS,
    NAMES,
    PLAN,
    STARTS_MAKE,
    WAITING,
    Failures,
    Outcome,
    Runner,
    lanes,
    options,
)
from tests.pythons import REPOSITORY
from tests.testbed.scenarios import points

PASSES = "def test_it():\n    pass\n"
FAILS = "def test_it():\n    assert 1 == 2\n"
BY_ITSELF = ("-p", "no:cacheprovider", "-p", "tests.conftest")
"""A file that is not below tests/ knows how tests are run here."""


def test_every_test_file_is_in_one_lane() -> None:
    counted = Counter(name for files in lanes().values() for name in files)
    there = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tests").rglob("test_*.py")}

    assert set(counted) == there and set(counted.values()) == {1}
    assert tuple(lanes()) == NAMES and all(lanes().values())


def test_names_that_lanes_are_chosen_by_are_files_that_exist() -> None:
    found = {lane: {Path(name).name for name in files} for lane, files in lanes().items()}

    assert found["rigs"] >= {*WAITING, *STARTS_MAKE}
    assert (found["alone"], found["images"]) == (ALONE, IMAGES)


def test_what_only_computes_comes_first_and_what_needs_the_machine_for_itself_last() -> None:
    assert sorted(NAMES) == sorted(set(NAMES)) and set(BEHIND) < set(NAMES)
    assert (PLAN[0], PLAN[-1]) == ((("quick",),), (("alone",),))


def test_robots_that_drive_get_one_process() -> None:
    workers = {lane: int(options(lane)[options(lane).index("-n") + 1]) for lane in NAMES if options(lane)}

    assert set(workers) == {"quick", "rigs"}
    assert all(1 <= number <= MOST_WORKERS for number in workers.values())


@pytest.mark.parametrize(
    ("text", "code", "says"), [(PASSES, 0, "1 passed"), (FAILS, 1, "1 failed")], ids=["passes", "fails"]
)
def test_a_lane_ends_as_its_tests_do_and_names_a_failure_when_it_happens(
    text: str, code: int, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test_given.py"
    file.write_text(text)
    runner = Runner()

    runner.run("real", [str(file)], *BY_ITSELF)

    [outcome] = runner.outcomes
    assert (outcome.code, outcome.lane) == (code, "real") and says in outcome.says
    lines = capfd.readouterr().out.splitlines()
    assert lines and all(line.startswith("[real] ") for line in lines)
    named = [number for number, line in enumerate(lines) if "FAILED " in line and "(call)" in line]
    assert len(named) == code and all(number < len(lines) - 5 for number in named)


def test_a_runner_that_was_stopped_begins_no_lane(tmp_path: Path) -> None:
    runner = Runner()
    runner.stop(2, None)

    runner.run("real", [str(tmp_path / "test_given.py")])

    assert runner.outcomes == []


MEETS = """
import os
from pathlib import Path
from tests.fakes.ros import wait_until

def test_it():
    Path(__file__).with_suffix(".here").touch()
    wait_until(Path({other!r}).exists, 60.0, "the lane beside it")
    assert os.getsid(0) != {session}
    assert os.getpriority(os.PRIO_PROCESS, 0) == {nice}
"""


def given(folder: Path, lane: str, text: str) -> Path:
    path = folder / f"test_{lane}.py"
    path.write_text(text)
    return path


def test_tracks_run_beside_each_other_in_sessions_of_their_own_and_some_lanes_behind(tmp_path: Path) -> None:
    """Each of the two lanes waits for the other one to be there."""
    runner, nice = Runner(), os.getpriority(os.PRIO_PROCESS, 0)
    files = {}
    for lane, other in (("real", "images"), ("images", "real")):
        facts = {"session": os.getsid(0), "nice": min(19, nice + BEHIND.get(lane, 0))}
        path = given(tmp_path, lane, MEETS.format(other=str(tmp_path / f"test_{other}.here"), **facts))
        files[lane] = [*BY_ITSELF, str(path)]

    runner.beside((("real",), ("images",)), files)

    assert sorted((outcome.lane, outcome.code) for outcome in runner.outcomes) == [("images", 0), ("real", 0)]


def test_a_runner_that_is_stopped_ends_the_lanes_that_run_and_begins_none_behind_them(tmp_path: Path) -> None:
    """Whatever stops it: a terminal tells only its own session of Ctrl-C."""
    runner, here = Runner(), tmp_path / "test_real.here"
    endless = MEETS.format(other=str(tmp_path / "never"), session=0, nice=0)
    files = {lane: [*BY_ITSELF, str(given(tmp_path, lane, endless))] for lane in ("real", "played")}

    with ThreadPoolExecutor() as pool:
        ended = pool.submit(runner.beside, (("real", "played"),), files)
        wait_until(here.exists, 60.0, "the first lane to run")
        runner.stop(signal.SIGTERM, None)
        ended.result(60.0)

    assert [(outcome.lane, outcome.code) for outcome in runner.outcomes] == [("real", 2)]


def test_a_lane_says_what_it_was_in_one_line() -> None:
    assert (
        str(Outcome("rigs", 0, "=== 5 passed in 60.0s ===", 90.0, Failures()))
        == "rigs          1.5 min  5 passed in 60.0s"
    )


def test_a_lane_that_does_not_exist_is_named_with_those_that_do() -> None:
    argv = [sys.executable, "-m", "tests.lanes", "slow"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2 and done.stdout == ""
    assert f"slow: no such lane; there are {', '.join(NAMES)}" in done.stderr


def test_a_sample_of_the_matrix_has_every_fault_in_every_scenario_once() -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "--sample"]
    file = "tests/unit/agent/test_fault_matrix.py"
    done = subprocess.run([*argv, file], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    sampled = [point for point in points() if f"[{point}]" in done.stdout]

    assert done.returncode == 0, done.stdout
    assert Counter((point.scenario, point.fault) for point in sampled) == {
        (point.scenario, point.fault): 1 for point in points()
    }


def test_the_tests_of_make_test_torch_are_those_that_are_skipped_without_it() -> None:
    assert with_torch.files() == [
        "tests/unit/engine/test_reference_precisions.py",
        "tests/unit/engine/test_torch.py",
        "tests/unit/engine/test_torch_operators.py",
        "tests/unit/engine/test_torch_policies.py",
        "tests/unit/importers/test_lerobot_door.py",
        "tests/unit/importers/test_lerobot_exports.py",
        "tests/unit/models/test_seed_networks.py",
        "tests/unit/models/test_torch_exports.py",
    ]


def test_what_is_to_be_fetched_is_listed_with_its_size(tmp_path: Path) -> None:
    large, small = tmp_path / "large one.whl", tmp_path / "small.whl"
    with large.open("wb") as file:
        file.truncate(25 * with_torch.MB)
    small.write_bytes(b"x" * 1000)
    report = {
        "install": [
            {"metadata": {"name": name, "version": "1.0"}, "download_info": {"url": url}}
            for name, url in (
                ("small", small.as_uri()),
                ("large", large.as_uri()),
                ("lost", "http://127.0.0.1:9/lost.whl"),
            )
        ]
    }

    assert list(with_torch.listing(report)) == [
        "  large 1.0: 25 MB",
        "  3 packages, 25 MB to fetch in all, and 1 whose size nobody says",
    ]


def test_the_end_says_what_failed_once_for_each_reason_and_the_first_reason_first() -> None:
    failures = Failures()
    for line in (
        "FAILED tests/e2e/test_one.py::test_it[a (b): c] (call): AssertionError: make ended with 2: error: no room",
        "............ [ 10%]",
        "FAILED tests/e2e/test_two.py::test_it (setup): KeyError: 'robots'",
        "FAILED tests/e2e/test_three.py::test_it (setup): KeyError: 'robots'",
    ):
        failures.read(f"{line}\n")

    assert failures.lines() == [
        "tests/e2e/test_one.py::test_it[a (b): c]: AssertionError: make ended with 2: error: no room",
        "tests/e2e/test_two.py::test_it and 1 more: KeyError: 'robots'",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FAILS, "assert 1 == 2"),
        ("def test_it():\n    raise KeyError('two\\nlines')\n", "KeyError: 'two\\nlines'"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
    ],
)
def test_the_end_says_why_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    runner = Runner()

    runner.run("real", [*BY_ITSELF, str(given(tmp_path, "real", text))])

    [outcome] = runner.outcomes
    [line] = outcome.failures.lines()
    assert line.endswith(why), line
