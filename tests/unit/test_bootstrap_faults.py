"""bootstrap.sh when something goes wrong under way: it ends with one clear line, and the next run works."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.index import Index

pytestmark = pytest.mark.timeout(300)  # each makes one environment or two, and those are 1,000 files

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "requirements/bootstrap.sh"
# The checkout's own package, installed by a builder that needs nothing from anywhere.
PYPROJECT = """
[build-system]
requires = []
build-backend = "builder"
backend-path = ["."]
[project]
name = "checkout"
version = "1"
"""
BUILDER = """
from pathlib import Path
from tests.fakes.index import wheel
def build_editable(folder, settings=None, metadata=None):
    (Path(folder) / "checkout-1-py3-none-any.whl").write_bytes(wheel("checkout", "1"))
    return "checkout-1-py3-none-any.whl"
"""


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    index.add("arm", "1.0", payload=os.urandom(1 << 20))
    yield index
    index.close()


@pytest.fixture
def checkout(tmp_path: Path, index: Index) -> Path:
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "requirements")
    (folder / "requirements/dev.txt").write_text(index.locked("arm"))
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "builder.py").write_text(BUILDER)
    for path in ("tests/__init__.py", "tests/fakes/__init__.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    shutil.copy(ROOT / "tests/fakes/index.py", folder / "tests/fakes")
    return folder


def begin(checkout: Path, index: Index, **more: str) -> subprocess.Popen[str]:
    """Start it in a session of its own, with this index and no other setting of pip."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment = {**own, **index.environment, "PYTHON": sys.executable, **more}
    return subprocess.Popen(
        ["requirements/bootstrap.sh", "env"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(running: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Its exit code and lines."""
    printed, _ = running.communicate(timeout=200)
    return running.returncode, printed.splitlines()


def made(checkout: Path) -> bool:
    """Whether the environment is finished and has the package."""
    argv = [str(checkout / "env/bin/python"), "-c", "import arm; print(arm.VERSION)"]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=60)
    return (checkout / "env/.ready").exists() and done.stdout == "1.0\n"


def assert_the_next_run_makes_it(checkout: Path, index: Index, **more: str) -> None:
    code, lines = finish(begin(checkout, index, **more))
    assert code == 0 and made(checkout), lines


def test_a_power_cut_in_the_middle_leaves_nothing_that_the_next_run_believes(checkout: Path, index: Index) -> None:
    index.halt()
    running = begin(checkout, index)
    assert index.asked.wait(200.0)

    os.killpg(running.pid, signal.SIGKILL)
    finish(running)
    index.go_on()

    assert not (checkout / "env/.ready").exists()
    (checkout / "env/half").touch()
    assert_the_next_run_makes_it(checkout, index)
    assert not (checkout / "env/half").exists(), "what the killed run left is not built upon"


def test_a_pip_that_outlives_the_killed_script_is_waited_for(checkout: Path, index: Index) -> None:
    index.halt()
    running = begin(checkout, index)
    assert index.asked.wait(200.0)
    os.kill(running.pid, signal.SIGKILL)
    finish(running)

    following = begin(checkout, index)
    assert following.stdout is not None
    waits = following.stdout.readline()
    index.go_on()
    code, lines = finish(following)

    assert waits == "Something else is making env: waiting for it to end\n"
    assert code == 0 and made(checkout), lines


def test_a_package_with_other_bytes_is_refused_in_one_line(checkout: Path, index: Index) -> None:
    good = dict(index.wheels)
    index.add("arm", "1.0", payload=b"somebody else's")

    code, lines = finish(begin(checkout, index))

    assert code == 5 and not (checkout / "env/.ready").exists()
    assert lines[-1] == (
        "error: a package differs from what requirements/dev.txt expects: check your package index, then run this again"
    )
    index.wheels = good
    assert_the_next_run_makes_it(checkout, index)


def test_an_index_that_does_not_answer_is_named_as_such(checkout: Path, index: Index) -> None:
    away = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}

    code, lines = finish(begin(checkout, index, **away))

    assert code == 5
    assert lines[-1] == ("error: the package index cannot be reached: check network and proxy, then run this again")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, 1 GB large, of which nothing is used."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=1000M,mode=1777", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(argv, capture_output=True, timeout=10).returncode
    if not mounted:
        pytest.skip("only root can mount a small disk, where the kernel permits it")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True, timeout=10)


def fill(disk: Path) -> None:
    """Let no byte be free."""
    seen = os.statvfs(disk)
    resize(disk, str((seen.f_blocks - seen.f_bfree) * seen.f_frsize))


def test_a_disk_that_becomes_full_is_told_with_what_to_free(checkout: Path, index: Index, disk: Path) -> None:
    (checkout / "env").symlink_to(disk)
    index.on_wheel = lambda: fill(disk)

    code, lines = finish(begin(checkout, index))

    assert code == 5 and not (disk / ".ready").exists()
    assert lines[-1].startswith("error: the disk is full: free about 870 MB where env is"), lines
    index.on_wheel = lambda: None
    resize(disk, "1000M")
    assert_the_next_run_makes_it(checkout, index)


def test_a_full_folder_for_what_is_fetched_is_refused_too(checkout: Path, index: Index, disk: Path) -> None:
    resize(disk, "100M")

    code, lines = finish(begin(checkout, index, TMPDIR=str(disk)))

    assert code == 5 and not index.asked.is_set()
    assert lines == [
        f"error: {disk} has 100 MB free and needs 220 MB for what is fetched: free some, or name another folder with "
        "TMPDIR="
    ]


def test_a_disk_that_is_too_small_is_refused_before_anything_is_fetched(
    checkout: Path, index: Index, disk: Path
) -> None:
    resize(disk, "100M")
    (checkout / "env").symlink_to(disk)

    code, lines = finish(begin(checkout, index))

    assert code == 5 and not index.asked.is_set()
    assert lines == ["error: env has 100 MB free and needs 870 MB: free some, or name another disk's folder with VENV="]


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Variables that name a Python which cannot make environments, and programs that stand before the machine's own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools / "python", f'case $* in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    return {"PYTHON": str(tools / "python"), "PATH": f"{tools}:{os.environ['PATH']}"}


def test_missing_packages_are_named_with_the_command_that_installs_them(
    checkout: Path, index: Index, bare: dict[str, str], tmp_path: Path
) -> None:
    program(tmp_path / "tools/id", "echo 1000\n")  # an ordinary user

    code, lines = finish(begin(checkout, index, **bare))

    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    install = f"sudo apt-get update && sudo apt-get install -y {package}"
    assert code == 5 and lines == [f"error: missing Debian packages: run '{install}', then this again"]


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("update", "Debian's lists of packages cannot be fetched: check network, proxy and /etc/apt"),
        ("install", "Debian's packages could not be installed (apt's words are above): fix that"),
    ],
)
def test_packages_that_cannot_be_installed_end_in_one_sentence_under_the_words_of_apt(
    checkout: Path, index: Index, bare: dict[str, str], tmp_path: Path, verb: str, told: str
) -> None:
    program(tmp_path / "tools/id", "echo 0\n")
    program(tmp_path / "tools/apt-get", f'[ "$1" != {verb} ] || {{ echo "E: no way" >&2; exit 100; }}\n')

    code, lines = finish(begin(checkout, index, **bare))

    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert code == 5
    assert lines == [f"Installing Debian packages: {package}", "E: no way", f"error: {told}, then run this again"]
