"""What an inference cycle costs beside its backend, and the seed's own way beside it.

With a VGA camera at about 30 Hz and a 360-beam laser. Frames of exactly 30 Hz would keep their place between cycles for
a whole run, and figures would say where that happened to be: beside a frame that is being prepared, a cycle takes
0.4 ms longer.

The backend sleeps 5 ms, so that what is left of a cycle is ours: words, lidar, units, chunk, and preprocessing to
224x224 as the seed does it where the frame was not prepared when it arrived. What that takes is measured apart and
added once more, since the seed has it in its tick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stack.models.package import Form
from tests.bench.harness import FULL, kept_ms, noise, percentile, report
from tests.fakes.ros import REPOSITORY, ros_env
from tests.fakes.settings import robot_toml
from tests.fakes.tiny import make_null_model
from tests.testbed.slot_bed import SlotBed

FORM = Form("homeport/null", 224, "linear", 360, 20)
BACKEND_MS = 5.0
CAMERA_HZ = "29.3"
CYCLES = 3000 if FULL else 400


def cycles(model: Path, **bed_options: Any) -> tuple[float, float, float, float]:
    """Milliseconds of one cycle.

    p50 of our own part of a cycle, p99 of all cycles and of the worst 200, and p50 of preparing a frame; a p50 is the
    median of windows of 200.
    """
    overrides = {"null_ms": BACKEND_MS}
    bed_options = {"sensors": ("--size", "640x480", "--hz", CAMERA_HZ, "--scan", "--reliable"), **bed_options}
    with SlotBed(model, "resource_optimized", backends=["null"], overrides=overrides, **bed_options) as bed:
        bed.wait_driving()
        before = bed.wait_cycles(200)
        seen = [bed.wait_cycles(200) for _ in range(CYCLES // 200)]
    p50_ms, prepared_ms = (percentile([s[key] for s in seen], 0.5) for key in ("overhead_p50_ms", "prepared_p50_ms"))
    p99_ms = kept_ms(before["overhead_counts"], seen[-1]["overhead_counts"], 0.99)
    return p50_ms, p99_ms, max(s["overhead_p99_ms"] for s in seen), prepared_ms


def two_cameras(folder: Path) -> tuple[float, float, float, float]:
    """The same of a policy that looks through two cameras of 320x240 and at six joints."""
    recipe = {"width": 224, "height": 224, "fit": "letterbox", "resize": "linear"}
    parts = [{"of": "joint_position", "names": [f"joint{number}" for number in range(6)], "unit": "rad"}]
    observation = {"cameras": {"front": recipe, "wrist": recipe}, "state": {"parts": parts}}
    model = make_null_model(folder, observation=observation)
    cameras = {"front": {"topic": "/camera/image_raw"}, "wrist": {"topic": "/wrist/image_raw"}}
    robot = robot_toml(cameras=cameras, sources={"joints": {"max_age_ms": 500}})
    sensors = ("--size", "320x240", "--hz", CAMERA_HZ, "--body", "--reliable")
    return cycles(model, sensors=sensors, robot=robot)


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
        p50_ms, p99_ms, worst_ms, prepared_ms = cycles(model)
        theirs = seed(model)
        more = two_cameras(Path(name) / "more")
    seed_p50_ms = percentile(theirs, 0.5)
    figures: dict[str, object] = {
        "p50_ms": round(p50_ms, 3),
        "p99_ms": p99_ms,
        "worst_window_p99_ms": round(worst_ms, 3),
        "cycles": CYCLES,
        "prepared_at_arrival_p50_ms": round(prepared_ms, 3),
        "with_arrival_p50_ms": round(p50_ms + prepared_ms, 3),
        "two_cameras_p50_ms": round(more[0], 3),
        "two_cameras_p99_ms": more[1],
        "two_cameras_prepared_p50_ms": round(more[3], 3),
    }
    baselines = {
        "seed_p50_ms": round(seed_p50_ms, 3),
        "seed_p99_ms": round(percentile(theirs, 0.99), 3),
        "times_less": round(seed_p50_ms / p50_ms, 1),
        "times_less_with_arrival": round(seed_p50_ms / (p50_ms + prepared_ms), 1),
    }
    report("policy_overhead", {**figures, "seed_p50_ms": baselines["seed_p50_ms"]}, baselines, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
