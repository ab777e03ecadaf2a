"""`make bench`: run every script here, or the one that is named, each in a process of its own.

Each prints one JSON line last: {"bench","commit","figures":{…},"baselines":{…}}. Exits 1 when a script failed, 2 when
it does not exist.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HARNESS = ("__main__", "harness")


def runs(name: str) -> bool:
    """Run one, and say how long it took."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"tests.bench.{name}"])
    print(f"{name}: took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return done.returncode == 0


def main(names: list[str]) -> int:
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HARNESS)
    if unknown := sorted(set(names) - set(known)):
        print(f"error: no bench named {unknown[0]}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [name for name in names or known if not runs(name)]
    if failed:
        print(f"error: these benches failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
