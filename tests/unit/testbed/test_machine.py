"""What the demo says of the machine, what it ends, and how it explains what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.fakes.ros import wait_until
from tests.testbed import hosting
from tests.testbed.console import busy
from tests.testbed.demo import BusyError, last_message
from tests.testbed.leftovers import MARK, end_all, started_in
from tests.testbed.machine import Machine

FREE = Machine(cores=2, idle=0.97, memory_bytes=4_000_000_000, disk_bytes=9_000_000_000)
BUSY = replace(FREE, idle=0.02, busiest=("stress (process 12)",))
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"


def test_a_machine_is_measured_and_told_in_one_line(tmp_path: Path) -> None:
    found = Machine.measure(tmp_path)

    assert 0.0 <= found.idle <= 1.0 and found.cores >= 1 and found.memory_bytes > 0 and found.disk_bytes > 0
    assert FREE.sentence == (
        "This machine: 2 cores (97% idle), 4.0 GB of memory and 9.0 GB of disk free. "
        "The demo needs 2 cores, 2 GB, 1 GB and about 3 minutes."
    )
    assert not FREE.busy and BUSY.busy
    assert BUSY.load == "other programs use 98% of its 2 cores, most of all stress (process 12)"


@pytest.mark.parametrize(
    ("changes", "words"), [({"memory_bytes": 10**9}, "GB of memory"), ({"disk_bytes": 10**8}, "TMPDIR")]
)
def test_a_machine_without_room_is_refused_before_anything_starts(
    changes: dict[str, int],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = replace(FREE, **changes)  # type: ignore[arg-type]

    assert hosting.tell(tmp_path, False, lambda folder: small) == 5
    assert words in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("problem", "machine", "words"),
    [
        (BusyError("silence"), BUSY, "too busy for three robots: other programs use 98%"),
        (AssertionError("waited 40 s"), BUSY, "too busy for three robots: other programs use 98%"),
        (hosting.TooLongError("500 s"), FREE, "too slow for three robots"),
        (AssertionError("deploy.yml ended with 2: no key"), FREE, "error: deploy.yml ended with 2: no key"),
        (KeyboardInterrupt(), FREE, "everything that was started was ended"),
    ],
)
def test_what_ended_the_story_is_explained_by_the_machine_where_it_is_the_reason(
    problem: BaseException, machine: Machine, words: str, tmp_path: Path
) -> None:
    assert words in hosting.explain(problem, machine, tmp_path)


def test_only_what_was_started_in_the_folder_is_ended_and_also_what_does_not_listen(tmp_path: Path) -> None:
    mine, other = tmp_path / "a", tmp_path / "b"
    ours = subprocess.Popen(
        [sys.executable, "-c", DEAF], env={**os.environ, MARK: str(mine)}, stdout=subprocess.PIPE, text=True
    )
    foreign = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(other), "PWD": str(mine)})
    try:
        assert ours.stdout is not None and ours.stdout.readline() == "here\n"
        assert [process.pid for process in started_in(mine)] == [ours.pid]
        assert end_all(mine) == 1
        assert not psutil.pid_exists(ours.pid) and foreign.poll() is None
    finally:
        for program in (ours, foreign):
            program.kill()
            program.wait(5.0)
        if ours.stdout is not None:
            ours.stdout.close()


def test_what_an_interrupted_demo_has_left_is_known_and_a_live_one_is_left_alone(tmp_path: Path) -> None:
    running = hosting.Running(tmp_path / "out")
    assert running.read() is None
    folder = tmp_path / f"{hosting.PREFIX}x"
    folder.mkdir()

    running.write(folder)
    assert running.read() == (folder, True), "this process tells it"
    document = json.loads(running.file.read_text())
    running.file.write_text(json.dumps(document | {"since": 1.0}))
    assert running.read() == (folder, False), "another process has its number now"
    running.write(folder, kept=True)
    assert running.read() == (folder, True)
    running.end(folder)
    assert running.read() is None and not folder.exists()


def test_a_torn_file_of_what_runs_is_no_file(tmp_path: Path) -> None:
    running = hosting.Running(tmp_path)
    for text in ("", "{", "[]", '{"folder": "/tmp"}', '{"folder": "/", "pid": 1, "since": 0, "kept": true}'):
        running.file.write_text(text)
        assert running.read() is None


def test_ansibles_own_last_words_are_one_line() -> None:
    printed = (
        "TASK [x] ***\nfatal: [alder -> localhost]: FAILED! => \n    changed: false\n    msg: 'The key is missing:\n"
        "        give one'\n\nPLAY RECAP ***\nalder : ok=1\n"
    )
    assert last_message(printed) == "'The key is missing: give one'"
    assert last_message("nothing") == ""


@pytest.mark.parametrize(
    ("metric", "message", "excused"),
    [
        ("silence_ms", "the supervisor went back: silence", True),
        ("inference_p99_ms", "p99 of 100 runs", True),
        ("error", "1.0.0: its probation has ended; ask for the status", True),
        ("clamped_rate", "92.9% of inferences outside the model's own contract", False),
        ("non_finite", "3 actions were not finite", False),
    ],
)
def test_a_rollout_is_tried_again_only_where_a_busy_machine_explains_its_failure(
    metric: str, message: str, excused: bool
) -> None:
    hosts = {"a": {"failure": None}, "b": {"failure": {"metric": metric, "message": message}}}
    assert busy({"hosts": hosts}) == (message if excused else None)
    assert busy({}) is None


def test_a_process_that_ended_meanwhile_is_nothing_to_end(tmp_path: Path) -> None:
    program = subprocess.Popen(["true"], env={MARK: str(tmp_path)})
    program.wait(5.0)
    wait_until(lambda: not psutil.pid_exists(program.pid), 5.0, "it to be gone")

    assert end_all(tmp_path) == 0
