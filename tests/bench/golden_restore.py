"""A robot whose Docker store is wiped and whose registry is gone.

Seconds from a working Docker until the fallback is verified at the wheel again.

On a bench robot with an engine of its own, from the archive that the agent keeps; supervisor and body come back the
same way. There is no baseline: without an archive and a registry nothing comes back.
"""

from __future__ import annotations

import sys
import time

from tests.bench.harness import FULL, noise, report
from tests.fakes.ros import wait_until
from tests.testbed.bench.fleet import Bench, passing
from tests.testbed.bench.robot import Robot
from tests.testbed.engine import EngineError

RUNS = 3 if FULL else 1
LIMIT_S = 120.0
IMAGES = "/var/lib/homeport/images"


def drives(robot: Robot, digest: str) -> bool:
    running = robot.agent("status", check_code=False).get("running")
    return running is not None and running["digest"] == digest


def copied(robot: Robot) -> bool:
    return "json" in robot.run("sh", "-c", f"ls {IMAGES} || :")


def restore(robot: Robot, digest: str) -> float:
    """Wipe the store; seconds until the release drives again."""
    began = robot.lose_images()
    wait_until(lambda: drives(robot, digest), LIMIT_S, "the fallback to drive again")
    return round(time.monotonic() - began, 2)


def measured(bench: Bench) -> dict[str, object]:
    bench.up(("alder",))
    robot, digest = bench.robots["alder"], bench.releases["1.0.0"]
    bench.deploy("1.0.0")
    wait_until(lambda: copied(robot), LIMIT_S, "the copy of the fallback's image")
    size = int(robot.run("sh", "-c", f"cat {IMAGES}/*.tar | wc -c"))
    bench.registry.stop(timeout=5)
    seconds = [restore(robot, digest) for _ in range(RUNS)]
    return {"seconds": max(seconds), "runs": len(seconds), "archive_bytes": size}


def main() -> int:
    with noise() as quiet:
        try:
            with passing("homeport-restore") as bench:
                figures = measured(bench)
        except EngineError as error:
            figures = {}
            print(f"not run: {error}", file=sys.stderr)
    report("golden_restore", {"golden_restore": figures}, {}, quiet, ran=bool(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
