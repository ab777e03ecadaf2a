"""Forks slots: a robot of the fault matrix starts hundreds of them, and a new interpreter for each would take most of
the time.

One JSON line in, {"root", "run", "slot"} for a slot or {} for a process that only sleeps; the pid of the new process
out.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).with_name("site") / "stack" / "policy" / "__main__.py"
LIFE_S = 120.0


def live(order: dict[str, str]) -> None:
    """Write status.json until a signal comes; ready at once, warm already."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    began = time.monotonic()
    if not order:
        time.sleep(LIFE_S)
        return
    root, slot = Path(order["root"]), order["slot"]
    release = (root / "slots" / slot).readlink().name
    target = Path(order["run"]) / f"slot-{slot}" / "status.json"
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    site = root / "releases" / release / "site" / "stack" / "policy" / "behaviour.json"
    behaviour = json.loads(site.read_text())
    loaded = POLICY["load"](root / "releases" / release)
    while (lived := time.monotonic() - began) < LIFE_S:
        temporary.write_text(json.dumps(POLICY["status"](slot, loaded, lived + 10.0, behaviour)))
        temporary.replace(target)
        time.sleep(0.02)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody stays a zombie
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                live(order)
            finally:
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    POLICY = runpy.run_path(str(PROGRAM), run_name="policy")
    main()
