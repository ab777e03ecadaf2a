"""What the processes of one test run share, and what is removed when it ends.

A run may be one pytest, one with several workers, or several pytests beside one another (tests/lanes.py). The process
that was started first cleans up after all of them, once they have ended: it alone knows that nobody is using the rest.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNED = "HOMEPORT_TEST_RUN"
"""Set in the environment of every process of a run but the first."""
COMPILED = "PYTHONPYCACHEPREFIX"


def run_folders() -> set[Path]:
    """The short folders that robots below another root keep their sockets and status files in."""
    return set(Path(tempfile.gettempdir()).glob(f"homeport-{os.getuid()}-*"))


@contextmanager
def cleaned() -> Iterator[None]:
    """The programs that tests start are compiled once: into a folder of this run, or where the environment says.
    Run folders that nobody serves are removed.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if OWNED in os.environ:
        sys.pycache_prefix = None  # for what a test starts, and not for what it compiles itself
        yield
        return
    before, given = run_folders(), os.environ.get(COMPILED)
    compiled = given or tempfile.mkdtemp(prefix="homeport-compiled-")
    os.environ.update({OWNED: str(os.getpid()), COMPILED: compiled})
    try:
        yield
    finally:
        del os.environ[OWNED]
        if given is None:
            shutil.rmtree(os.environ.pop(COMPILED), ignore_errors=True)
        served = Path("/proc/net/unix").read_text()
        for folder in run_folders() - before:
            if str(folder) not in served:
                shutil.rmtree(folder, ignore_errors=True)
