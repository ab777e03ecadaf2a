"""`make test-torch`: the tests that need PyTorch, ONNX Script or LeRobot, in an environment of their own.

It is called `.venv-torch`. Nothing else needs these three, and together they are larger than all the rest, so that
`make test` does without. What has to be fetched is listed with its size before it is fetched: where pip finds a CPU
build of the pinned version, such as a wheel of a local folder, it takes that one; elsewhere it takes the build with
CUDA, which is gigabytes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.pythons import REPOSITORY, UNITS, run

FOLDER = REPOSITORY / ".venv-torch"
PYTHON = FOLDER / "bin" / "python"
LOCKED = "requirements/lerobot.txt"
"""What the tests need, training and LeRobot: one list, which has older packages than others where LeRobot wants them.
It is installed as it stands, since LeRobot refuses newer ones that do."""
TORCH = "requirements/torch.txt"
"""Apart, since it has no hashes, and pip wants them for all packages of a call or for none."""
LOCKED_MB = 1350
"""What the packages of LOCKED take on disk, by du."""
NEEDS_TORCH = re.compile(r"^\s*(?:torch = )?pytest\.importorskip\(\"(?:torch|onnxscript|lerobot)\"", re.MULTILINE)
MB = 1_000_000
ASK_S = 20.0


def files() -> list[str]:
    """The files of tests that are skipped where PyTorch is not installed, below the repository."""
    found = [path for path in sorted(UNITS.rglob("test_*.py")) if NEEDS_TORCH.search(path.read_text())]
    return [str(path.relative_to(REPOSITORY)) for path in found]


def size_of(url: str) -> int | None:
    """Bytes of a package, of a local file or of what a server says; None where nobody says."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        return Path(urllib.parse.unquote(parts.path)).stat().st_size
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=ASK_S) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def listing(report: dict[str, Any]) -> Iterator[str]:
    """Lines about what pip would fetch: each package of more than 10 MB, and the sum of all."""
    sizes = {}
    for item in report["install"]:
        name = f"{item['metadata']['name']} {item['metadata']['version']}"
        sizes[name] = size_of(item["download_info"]["url"])
    for name, size in sorted(sizes.items(), key=lambda pair: -(pair[1] or 0)):
        if size is not None and size > 10 * MB:
            yield f"  {name}: {size / MB:.0f} MB"
    unknown = sum(size is None for size in sizes.values())
    total = sum(size or 0 for size in sizes.values())
    without = f", and {unknown} whose size nobody says" if unknown else ""
    yield f"  {len(sizes)} packages, {total / MB:.0f} MB to fetch in all{without}"


def pip(*words: str) -> list[str]:
    return [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check", "install", *words]


def announce() -> bool:
    """Say what is fetched. False when pip cannot tell, which it says itself."""
    argv = pip("--dry-run", "--report", "-", "-r", TORCH)
    done = subprocess.run(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=600)
    if done.returncode != 0:
        return False
    print(f"To be fetched: {LOCKED} (about {LOCKED_MB} MB on disk), and {TORCH}:", flush=True)
    print(*listing(json.loads(done.stdout)), sep="\n", flush=True)
    return True


def newest() -> float:
    return max((REPOSITORY / name).stat().st_mtime for name in (LOCKED, TORCH))


def leave_out_vision_operators() -> None:
    """Let torchvision load beside a PyTorch without CUDA.

    It tells PyTorch about operators of a library which cannot be loaded then. No policy uses them.
    """
    module = "torchvision._meta_registrations"
    line = f"import sys, types; sys.modules.setdefault({module!r}, types.ModuleType({module!r}))"
    (packages,) = FOLDER.glob("lib/python*/site-packages")
    (packages / "torchvision_without_operators.pth").write_text(f"{line}\n")


def make() -> bool:
    """Make the environment, unless it is newer than the lists that it is made from."""
    ready = FOLDER / ".ready"
    if ready.exists() and ready.stat().st_mtime >= newest():
        return True
    shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"Making {FOLDER.name} with {sys.executable}", flush=True)
    made = run([sys.executable, "-m", "venv", FOLDER])
    made = made and announce() and run(pip("-r", TORCH)) and run(pip("--no-deps", "--require-hashes", "-r", LOCKED))
    if made:
        leave_out_vision_operators()
        ready.touch()
    return made


def main() -> int:
    if not make():
        print(
            f"error: {FOLDER.name} could not be made; what pip says is above: fix that, then run this again",
            file=sys.stderr,
        )
        return 1
    if not run([PYTHON, "-c", "import lerobot.policies, onnxscript, torch; print('PyTorch', torch.__version__)"]):
        print(f"error: PyTorch or LeRobot cannot be loaded: remove {FOLDER.name}, then run this again", file=sys.stderr)
        return 1
    os.environ["PYTHONNOUSERSITE"] = "1"
    return 0 if run([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files()]) else 1


if __name__ == "__main__":
    sys.exit(main())
