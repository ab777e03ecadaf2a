"""`make demo` and `make demo-down`: measures the machine, tells the story of `tests.testbed.demo`, and ends all that it
started, whatever happens.

    make demo            the page is build/demo/report.html
    make demo KEEP=1     the robots go on, and what to try with them is printed
    make demo-down       ends them

A file beside the page says which folder the running robots live in, so that the next call ends what an interrupted one
has left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.fakes.robot import remove_run_folder
from tests.testbed.demo import NAMES, BusyError, Demo
from tests.testbed.fleet import REPOSITORY
from tests.testbed.leftovers import MARK, end_all
from tests.testbed.machine import Machine

LONGEST_S = 500
"""After this the machine is too slow for the story, whatever it is waiting for."""
OUT = REPOSITORY / "build" / "demo"
PREFIX = "homeport-demo-"


class TooLongError(Exception):
    """The story was not told within `LONGEST_S`."""


class Running:
    """What says that robots of a demo run here: their folder, and which process tells their story."""

    def __init__(self, out: Path) -> None:
        self.file = out / "running.json"

    def read(self) -> tuple[Path, bool] | None:
        """The folder of the robots that were started here, and whether somebody still wants them; None where there are
        none.
        """
        try:
            found = json.loads(self.file.read_text())
            folder = Path(found["folder"])
            wanted = found["kept"] or psutil.Process(found["pid"]).create_time() == found["since"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        except psutil.Error:
            wanted = False
        return (folder, wanted) if folder.is_dir() and folder.name.startswith(PREFIX) else None

    def write(self, folder: Path, kept: bool = False) -> None:
        own = psutil.Process()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        document = {"folder": str(folder), "pid": own.pid, "since": own.create_time(), "kept": kept}
        self.file.write_text(json.dumps(document) + "\n")

    def end(self, folder: Path) -> None:
        """End every process of the robots in `folder`, and delete it with what belongs to it.

        Raises AssertionError naming what goes on.
        """
        end_all(folder)
        for name in NAMES:
            remove_run_folder(folder / "fleet" / name)
        shutil.rmtree(folder, ignore_errors=True)
        self.file.unlink(missing_ok=True)


def tell(out: Path, keep: bool, measure: Callable[[Path], Machine] = Machine.measure) -> int:
    """Tell the story once; returns the exit code. `measure` looks at the machine, with room in a folder."""
    running = Running(out)
    before = running.read()
    if before is not None and before[1]:
        print(f"error: robots of a demo run already ({before[0]}): end them with `make demo-down`", file=sys.stderr)
        return 5
    if before is not None:
        print("Ending what an interrupted demo has left behind.", flush=True)
        running.end(before[0])
    machine = measure(Path(tempfile.gettempdir()))
    print(machine.sentence, flush=True)
    if machine.lack is not None:
        print(f"error: {machine.lack}, then run `make demo` again", file=sys.stderr)
        return 5
    if machine.busy:
        print(
            f"It is busy: {machine.load}. Robots may be late for their control loops; trying all the same.", flush=True
        )
    scratch = Path(tempfile.mkdtemp(prefix=PREFIX))
    (scratch / "fleet").mkdir()
    running.write(scratch)
    os.environ[MARK] = str(scratch)
    demo = Demo(out, scratch)
    problem = told(demo)
    if problem is None and keep:
        running.write(scratch, kept=True)
        print(what_to_try(demo))
    else:
        stop(demo, running, problem)
    if problem is None:
        print(f"\nThe page of this run: {out / 'report.html'} ({demo.story.seconds} s)")
        return 0
    print(explain(problem, measure(Path(tempfile.gettempdir())), out), file=sys.stderr)
    return 1


def told(demo: Demo) -> BaseException | None:
    """Tell the story within the time that it may take; returns what ended it early."""
    try:
        with limited():
            demo.run()
    except KeyboardInterrupt as error:
        return error
    except Exception as error:  # whatever it is: the robots are stopped first, then it is told
        return error
    return None


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises TooLongError in the block after `LONGEST_S`, and KeyboardInterrupt when this program is told to end."""

    def too_long(*_: object) -> None:
        raise TooLongError(f"the story was not told within {LONGEST_S} s")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)


def stop(demo: Demo, running: Running, problem: BaseException | None) -> None:
    """Switch all robots off, each by itself, then end whatever is left.

    The logs of a story that failed are kept beside the page.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # impatience must not leave robots behind
    if problem is not None:
        print("Stopping everything that was started.", flush=True)
    try:
        demo.fleet.power_off()
    except AssertionError as error:
        print(f"{error}; ending it with its group", file=sys.stderr)
    if problem is not None and not isinstance(problem, KeyboardInterrupt):
        keep_logs(demo, problem)
    running.end(demo.scratch)


def keep_logs(demo: Demo, problem: BaseException) -> None:
    """Copy what the robots and Ansible have logged to `logs` beside the page, with the traceback."""
    logs = demo.out / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    for path in (demo.scratch / "fleet").rglob("*.log"):
        shutil.copy(path, logs / "-".join(path.relative_to(demo.scratch / "fleet").parts))
    (logs / "traceback.txt").write_text("".join(traceback.format_exception(problem)))


def explain(problem: BaseException, machine: Machine, out: Path) -> str:
    """What went wrong, and what to do.

    Where `machine`, measured after everything was ended, is busy, that is the reason.
    """
    if isinstance(problem, KeyboardInterrupt):
        return "stopped; everything that was started was ended"
    words = str(problem) or repr(problem)
    logs = f"Everything that was started was ended. The logs are in {out / 'logs'}"
    if machine.busy:
        reason = f"this machine is too busy for three robots: {machine.load}. End them, then run `make demo` again."
        return f"error: {reason}\n{words}\n{logs}"
    if isinstance(problem, BusyError | TooLongError):
        reason = f"this machine is too slow for three robots, or was too busy: {words}"
        return f"error: {reason}. Run `make demo` again while nothing else runs.\n{logs}"
    return f"error: {words}\n{logs}"


def what_to_try(demo: Demo) -> str:
    """Commands for robots that go on, as they are typed in the checkout."""
    inventory = demo.fleet.inventory
    robot = demo.fleet.robots[0]
    agent = shlex.join(robot.agent_argv())
    return f"""
The three robots go on, in {demo.scratch}. Try, in this folder:
  make status INVENTORY={inventory}
  make deploy INVENTORY={inventory} RELEASE={demo.published.releases["1.1.0"]}
  make rollback INVENTORY={inventory}
and on one robot, {robot.name}:
  {agent} status
  {agent} estop
  {agent} reset
  {agent} arm
and in the end:
  make demo-down"""


def down(out: Path) -> int:
    """End the robots that `KEEP=1`, or an interrupted demo, has left running."""
    running = Running(out)
    found = running.read()
    if found is None:
        print("No robots of a demo run here.")
        return 0
    try:
        running.end(found[0])
    except AssertionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Everything in {found[0]} was ended, and the folder deleted.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where the page goes")
    parser.add_argument("--keep", action="store_true", help="let the robots go on after the story")
    parser.add_argument("--down", action="store_true", help="end the robots of an earlier one")
    options = parser.parse_args()
    out = options.out.resolve()
    return down(out) if options.down else tell(out, options.keep)


if __name__ == "__main__":
    sys.exit(main())
