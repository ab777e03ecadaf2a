"""What an inference cycle costs beside its backend, and the seed's own way beside it.

With a VGA camera at 30 Hz and a 360-beam laser.

The backend sleeps 5 ms, so that what is left of a cycle is ours: words, lidar, units, chunk, and preprocessing to
224x224 as the seed does it where the frame was not prepared when it arrived. What that takes is measured apart and
added once more, since the seed has it in its tick.

How long the same cycle takes is decided at every start of sensors and slot, by what happens to run beside it on the
other core: processor time and not waiting, 0.2 or 0.5 ms for a whole run. So each figure is the median of several
starts, and the worst start stands beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from stack.models.package import Form
from tests.bench.harness import FULL, kept_ms, noise, percentile, report
from tests.fakes.ros import REPOSITORY, ros_env
from tests.fakes.settings import robot_toml
from tests.fakes.tiny import make_null_model
from tests.testbed.slot_bed import SlotBed

FORM = Form("homeport/null", 224, "linear", 360, 20)
BACKEND_MS = 5.0
STARTS = 5
CYCLES = 3000 if FULL else 400
"""In each of them."""


class Cycles(NamedTuple):
    """Milliseconds of one start: p50 of our own part of a cycle (the median of windows of 200), p99 of all cycles and
    of the worst 200, and p50 of preparing a frame.
    """

    p50: float
    p99: float
    worst_window_p99: float
    prepared_p50: float


def cycles(model: Path, **bed_options: Any) -> Cycles:
    """Start sensors and slot once."""
    overrides = {"null_ms": BACKEND_MS}
    with SlotBed(model, "resource_optimized", backends=["null"], overrides=overrides, **bed_options) as bed:
        bed.wait_driving()
        before = bed.wait_cycles(200)
        seen = [bed.wait_cycles(200) for _ in range(CYCLES // 200)]
    p50_ms, prepared_ms = (percentile([s[key] for s in seen], 0.5) for key in ("overhead_p50_ms", "prepared_p50_ms"))
    p99_ms = kept_ms(before["overhead_counts"], seen[-1]["overhead_counts"], 0.99)
    return Cycles(p50_ms, p99_ms, max(s["overhead_p99_ms"] for s in seen), prepared_ms)


def usual(starts: list[Cycles]) -> Cycles:
    """The median of each figure."""
    return Cycles(*(round(percentile(figures, 0.5), 3) for figures in zip(*starts, strict=True)))


def two_cameras(folder: Path) -> list[Cycles]:
    """The same of a policy that looks through two cameras of 320x240 and at six joints."""
    recipe = {"width": 224, "height": 224, "fit": "letterbox", "resize": "linear"}
    parts = [{"of": "joint_position", "names": [f"joint{number}" for number in range(6)], "unit": "rad"}]
    observation = {"cameras": {"front": recipe, "wrist": recipe}, "state": {"parts": parts}}
    model = make_null_model(folder, observation=observation)
    cameras = {"front": {"topic": "/camera/image_raw"}, "wrist": {"topic": "/wrist/image_raw"}}
    robot = robot_toml(cameras=cameras, sources={"joints": {"max_age_ms": 500}})
    sensors = ("--size", "320x240", "--hz", "30", "--body", "--reliable")
    return [cycles(model, sensors=sensors, robot=robot) for _ in range(STARTS)]


def seed(model: Path) -> list[float]:
    """Milliseconds of every tick of the seed's node, beside the same sensors."""
    with SlotBed(model, "resource_optimized", backends=["null"]) as bed:
        bed.wait_driving()
        bed.slot.stop()  # its sensors stay
        argv = [sys.executable, "-m", "tests.testbed.seed_node", str(max(12.0, CYCLES / 20)), str(BACKEND_MS)]
        environment = ros_env(bed.folder, bed.domain)
        done = subprocess.run(argv, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])["overhead_ms"]
    return times[20:]


def main() -> int:
    with tempfile.TemporaryDirectory() as name, noise() as quiet:
        model = make_null_model(Path(name) / "model", form=FORM)
        starts = [cycles(model) for _ in range(STARTS)]
        theirs = seed(model)
        more = two_cameras(Path(name) / "more")
    one, two = usual(starts), usual(more)
    seed_p50_ms = percentile(theirs, 0.5)
    figures: dict[str, object] = {
        "starts": STARTS,
        "cycles": CYCLES,
        "p50_ms": one.p50,
        "p99_ms": one.p99,
        "worst_window_p99_ms": one.worst_window_p99,
        "worst_start_p50_ms": round(max(each.p50 for each in starts), 3),
        "prepared_at_arrival_p50_ms": one.prepared_p50,
        "with_arrival_p50_ms": round(one.p50 + one.prepared_p50, 3),
        "two_cameras_p50_ms": two.p50,
        "two_cameras_p99_ms": two.p99,
        "two_cameras_worst_start_p50_ms": round(max(each.p50 for each in more), 3),
        "two_cameras_prepared_p50_ms": two.prepared_p50,
    }
    baselines = {
        "seed_p50_ms": round(seed_p50_ms, 3),
        "seed_p99_ms": round(percentile(theirs, 0.99), 3),
        "times_less": round(seed_p50_ms / one.p50, 1),
        "times_less_with_arrival": round(seed_p50_ms / (one.p50 + one.prepared_p50), 1),
    }
    report("policy_overhead", {**figures, "seed_p50_ms": baselines["seed_p50_ms"]}, baselines, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
