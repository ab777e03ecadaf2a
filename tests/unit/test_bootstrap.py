"""bootstrap.sh, in a real shell: it takes only a folder that it made, and makes an interrupted one anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNKNOWN = f"no-such-package-of-homeport==1 --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "requirements/bootstrap.sh", folder / "requirements")
    (folder / "requirements/dev.txt").write_text(UNKNOWN)
    return folder


def bootstrap(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    argv = ["requirements/bootstrap.sh", "env"]
    return subprocess.run(argv, cwd=checkout, env=environment, capture_output=True, text=True, timeout=100)


def test_a_folder_that_is_not_ours_is_refused_and_left_as_it_is(checkout: Path) -> None:
    (checkout / "env").mkdir()
    (checkout / "env/thesis.txt").write_text("years")

    done = bootstrap(checkout)

    assert done.returncode == 5 and "env was not made by this project" in done.stderr
    assert [path.name for path in (checkout / "env").iterdir()] == ["thesis.txt"]


def test_an_interrupted_environment_is_made_anew_and_a_failure_ends_in_one_sentence(checkout: Path) -> None:
    (checkout / "env").mkdir()
    for name in (".homeport", "half"):
        (checkout / "env" / name).touch()

    done = bootstrap(checkout)

    assert done.returncode == 5 and not (checkout / "env/half").exists() and not (checkout / "env/.ready").exists()
    assert "1 packages of requirements/dev.txt, about 870 MB on disk" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1].startswith("error: the environment could not be made (pip's last lines")
    assert "no-such-package-of-homeport" in done.stderr
