"""Where tests write, and what every test run leaves behind: nothing."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

RAM = Path("/dev/shm")
ROOM = 8 << 30


def pytest_configure() -> None:
    """Temporary folders in memory where there is room for them, and programs may start: most of what tests write they
    also sync.

    `--basetemp` or PYTEST_DEBUG_TEMPROOT=/tmp name another place. The programs that tests start are compiled once, into
    a folder of this run.
    """
    settings.register_profile("homeport", deadline=None)  # an example takes as long as the machine lets it
    settings.load_profile("homeport")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="homeport-compiled-")
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)
    if RAM.is_dir() and os.access(RAM, os.W_OK):
        found = os.statvfs(RAM)
        room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
        if room >= ROOM and not found.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RAM))


def run_folders() -> set[Path]:
    """The short folders that robots below another root keep their sockets and status files in."""
    return set(Path(tempfile.gettempdir()).glob(f"homeport-{os.getuid()}-*"))


@pytest.fixture(autouse=True, scope="session")
def _no_run_folder_is_left() -> Iterator[None]:
    """Remove the run folders that this session's robots made, except those that a live process still serves."""
    before = run_folders()
    yield
    served = Path("/proc/net/unix").read_text()
    for folder in run_folders() - before:
        if str(folder) not in served:
            shutil.rmtree(folder, ignore_errors=True)
