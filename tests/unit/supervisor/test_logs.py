"""Nobody waits for a reader of the log: neither who writes a line, nor a process that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fakes.unread import Unread

TOP = Path(__file__).parents[3]
BEGIN = """
import logging, os, sys
from contextlib import suppress
from stack.supervisor.logs import Logs

log = logging.getLogger("test")
told = os.dup(1)
logs = Logs()
logs.start()
"""
END = "\nlogs.end(0.5)\n"
MANY = """
for number in range(500):
    log.info(f"{number} " + "x" * 10_000)
with suppress(BlockingIOError):
    os.write(2, b"a library says something\\n")
os.write(told, b"written\\n")
"""
FAILS = """
def the_place():
    raise ValueError("the reason")

try:
    try:
        the_place()
    except ValueError as error:
        raise OSError("what came of it") from error
except OSError:
    log.exception("It failed")
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def said(body: str) -> str:
    done = subprocess.run(program(BEGIN + body + END), cwd=TOP, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


def test_what_is_logged_reaches_standard_error_before_the_process_ends():
    lines = said('log.info("one %s", "line")\nos.write(1, b"from a library\\n")\nprint("from print", flush=True)')
    assert "INFO test: one line\n" in lines
    assert "from a library\n" in lines and "from print\n" in lines


def test_a_traceback_names_every_place_and_the_cause_and_reads_no_file():
    lines = said(FAILS)
    assert "ERROR test: It failed" in lines and "OSError: what came of it" in lines
    assert "in the_place\nValueError: the reason" in lines
    assert "raise ValueError" not in lines, "the source was read"


def test_a_line_of_any_length_is_cut():
    assert len(said('log.info("x" * 10_000_000)')) < 20_000


def test_nobody_waits_for_a_reader_that_stands_still_and_it_is_told_what_it_missed():
    with Unread() as log:
        argv = program(BEGIN + MANY + 'sys.stdin.read()\nlog.info("it goes on")' + END)
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, cwd=TOP, stdin=pipe, stdout=pipe, stderr=log.writer, text=True) as child:
            assert child.stdout.readline() == "written\n"
            missed = log.read_until("lines of this log were lost here", 5.0)
            child.stdin.close()
            log.read_until("it goes on", 5.0)
            assert child.wait(5.0) == 0
    assert "INFO test: 0 x" in missed


def test_a_process_ends_although_nobody_reads_its_log():
    with Unread() as log:
        argv = program(BEGIN + MANY + END + "sys.exit(3)")
        assert subprocess.run(argv, cwd=TOP, stdout=subprocess.DEVNULL, stderr=log.writer, timeout=10).returncode == 3


def test_a_reader_that_is_gone_hurts_nobody():
    argv = program(BEGIN + MANY + END + "sys.exit(3)")
    with subprocess.Popen(argv, cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        child.stderr.close()
        assert child.wait(10.0) == 3
