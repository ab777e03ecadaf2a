"""What every test run leaves behind: nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


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
