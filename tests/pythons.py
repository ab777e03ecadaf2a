"""`make test-pythons`: the same code on every Python that it may meet, from 3.10 to 3.13.

For each of them that this machine has, or gets from Debian's packages as root, an environment is made from the lock
file beside the usual one. From 3.11 on types are checked, and the unit tests run that need no rig: no robot with an
agent, no ROS node, no container. Robots may have 3.10: there the robot's own code is tested. The Python that `make
test` runs on is left out, since everything runs there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LONGEST_S = 2700.0
"""For one command; each test has a limit of its own."""
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
ROBOT_ONLY = "3.10"
"""Controllers and publishers need 3.11."""
UNITS = REPOSITORY / "tests" / "unit"
ROBOT_UNITS = ("agent", "engine", "model_registry", "monitor", "policy", "supervisor")
RIGS = re.compile(r"\b(rig|any_rig|docker_rig|Rig|DockerRig|StandIn|PlayedRobot|Ros|ros_env|subprocess)\b")
"""What a test names that needs a rig, or that starts programs."""
ALIKE = frozenset({"test_house_rules.py", "test_makefile.py", "test_bootstrap.py", "test_bootstrap_faults.py"})
"""They look at files and at make, whatever the Python."""


WHEELS_OF_ROS = frozenset({"LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"})


def candidates(version: str) -> Iterator[Path]:
    """Where an interpreter of that version may be."""
    for name in (shutil.which(f"python{version}"), f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        if name is not None:
            yield Path(name)
    for home in (os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")):
        if home is not None:
            yield from sorted(Path(home).glob(f"versions/{version}.*/bin/python3"), reverse=True)


def runs(python: Path, version: str) -> bool:
    """Whether it is that version; a shim of a version that is not chosen is none."""
    program = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=30)
    except OSError:
        return False
    return done.stdout.strip() == version


def find(version: str) -> Path | None:
    """An interpreter of that version, installed from Debian's packages where it is known there and we are root."""
    found = next((path for path in candidates(version) if runs(path, version)), None)
    if found is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    package = f"python{version}"
    if not subprocess.run(["apt-cache", "show", package], capture_output=True, timeout=60).stdout:
        return None
    print(f"Installing Debian packages: {package}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], env=environment, timeout=600
    )
    return next((path for path in candidates(version) if runs(path, version)), None)


def units(version: str) -> list[str]:
    """The files of unit tests that need no rig, below the repository."""
    found = []
    for path in sorted(UNITS.rglob("test_*.py")):
        part = path.relative_to(UNITS).parts[0]
        if version == ROBOT_ONLY and part not in ROBOT_UNITS:
            continue
        if path.name not in ALIKE and not RIGS.search(path.read_text()):
            found.append(str(path.relative_to(REPOSITORY)))
    return found


def run(argv: Sequence[str | Path]) -> bool:
    """Whether a command ends well.

    The wheels of ROS lead children to this environment's libraries, and not to theirs.
    """
    environment = {name: value for name, value in os.environ.items() if name not in WHEELS_OF_ROS}
    return subprocess.run(argv, cwd=REPOSITORY, env=environment, timeout=LONGEST_S).returncode == 0


def check(version: str, python: Path) -> bool:
    """Make the environment, check types, run the tests; whether all of it went well."""
    folder = REPOSITORY / f".venv-{version}"
    uv = Path(sys.executable).with_name("uv")
    lock = REPOSITORY / "requirements" / ("unit.txt" if version == ROBOT_ONLY else "dev.txt")
    print(f"\nPython {version}: making {folder.name} from {lock.relative_to(REPOSITORY)}", flush=True)
    made = run([uv, "venv", "--quiet", "--clear", "--python", python, folder])
    installed = made and run(
        [uv, "pip", "install", "--quiet", "--require-hashes", "--python", folder / "bin" / "python", "-r", lock]
    )
    if not installed:
        return False
    typed = version == ROBOT_ONLY or run([folder / "bin" / "python", "-m", "mypy"])
    tested = run([folder / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *units(version)])
    return typed and tested


def main() -> int:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = {version: find(version) for version in VERSIONS if version != here}
    missing = [version for version, python in pythons.items() if python is None]
    failed = [version for version, python in pythons.items() if python is not None and not check(version, python)]
    passed = [version for version, python in pythons.items() if python is not None and version not in failed]
    print(f"\nPython {here} is the one of `make test`.", end=" ")
    print(f"Passed on: {', '.join(passed) or 'no other'}.", end=" ")
    print(f"Left out, since this machine does not have and cannot get them: {', '.join(missing) or 'none'}.")
    if failed:
        print(f"error: failed on Python {', '.join(failed)}; what failed is above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
