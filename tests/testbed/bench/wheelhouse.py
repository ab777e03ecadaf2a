"""The wheels that robots without a package index are given: those of requirements/robot.txt, for each Python of theirs.

    folder = wheelhouse(("3.11", "3.13"))

The folder is kept in the bench's cache by the hash of what it is made from, so that a second run downloads nothing.
pip reads the markers of a lock file for the Python that it runs on itself, so they are resolved here.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.fakes.ros import REPOSITORY
from tests.testbed.rootfs import cache_folder, made_once

LOCK = REPOSITORY / "requirements" / "robot.txt"
BUILDERS = ("setuptools", "wheel")
"""What pip builds a source package with; pip itself would fetch them for it."""
GLIBC = range(5, 37)
"""Minor versions of glibc 2 whose wheels a robot with Debian 12 can use."""


def wheelhouse(pythons: Sequence[str]) -> Path:
    """The folder; what is missing is downloaded. Raises AssertionError with pip's words."""
    recipe = "\n".join((LOCK.read_text(), Path(__file__).read_text(), *pythons))
    folder = cache_folder() / "wheels" / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    with made_once(folder.parent):
        if not folder.exists():
            _fetch(folder, pythons)
    return folder


def _fetch(folder: Path, pythons: Sequence[str]) -> None:
    """Make the folder, and leave none of an earlier recipe beside it."""
    shutil.rmtree(folder.parent, ignore_errors=True)
    part = folder.with_suffix(".part")
    part.mkdir(parents=True)
    for python in pythons:
        _download(part, python)
    _pip(part, *BUILDERS)
    part.rename(folder)


def locked_for(text: str, python: str) -> str:
    """The entries of a lock file that a Python takes, without their markers."""
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
    }
    entries = []
    for entry in text.replace("\\\n", " ").splitlines():
        requirement, _, hashes = entry.partition("--hash=")
        if not hashes:
            continue
        wanted = Requirement(requirement)
        if wanted.marker is None or wanted.marker.evaluate(environment):
            entries.append(f"{wanted.name}{wanted.specifier} --hash={hashes}\n")
    return "".join(entries)


def _download(folder: Path, python: str) -> None:
    lock = folder.with_name(f"{folder.name}-{python}.txt")
    lock.write_text(locked_for(LOCK.read_text(), python))
    version = python.replace(".", "")
    target = ["--implementation", "cp", "--python-version", python]
    target += [f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")]
    target += ["--platform=manylinux2014_x86_64", "--platform=linux_x86_64"]
    target += [f"--platform=manylinux_2_{minor}_x86_64" for minor in reversed(GLIBC)]
    _pip(folder, "--no-deps", "--require-hashes", *target, "-r", str(lock))
    lock.unlink()


def _pip(folder: Path, *arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(folder)]
    done = subprocess.run([*argv, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"pip could not download the robots' wheels: {done.stderr[-3000:]}"
