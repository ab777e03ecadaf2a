"""Camera frames that reach a slot, from a foreign program with default DDS settings under another uid; all-default
beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.harness import FULL, noise, percentile, report
from tests.fakes.ros import REPOSITORY, allocate_domain_id, ros_env
from tests.testbed.slot_bed import SENSORS

HZ = 30
SECONDS = 60 if FULL else 5
NOBODY = 65534
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


def run(folder: Path, size: str, reliable: bool, ours: bool) -> tuple[float, list[float]]:
    """Percent of the frames that came, and how long each took (ms)."""
    environment = ros_env(folder, allocate_domain_id())
    default = {key: value for key, value in environment.items() if key != PROFILE}
    home = Path(tempfile.mkdtemp(dir=folder))
    home.chmod(0o777)
    foreign = {**default, "HOME": str(home), "ROS_LOG_DIR": str(home)}
    listening = [sys.executable, "-m", "tests.testbed.camera_listener", str(SECONDS + 3)]
    sending = [sys.executable, str(SENSORS), "--size", size, "--hz", str(HZ), "--frames", str(HZ * SECONDS)]
    if os.geteuid() == 0:
        sending += ["--uid", str(NOBODY)]
    with start(listening, environment if ours else default) as ear:
        with start([*sending, *(["--reliable"] if reliable else [])], foreign) as mouth:
            sent = int(mouth.communicate(timeout=SECONDS + 60)[0])
        heard = json.loads(ear.communicate(timeout=SECONDS + 60)[0])
    return 100.0 * heard["received"] / sent, heard["latency_ms"]


def start(argv: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def main() -> int:
    if os.geteuid():
        print("note: not root, so the camera runs under this uid", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name, noise() as quiet:
        folder = Path(name)
        folder.chmod(0o755)
        figures: dict[str, object] = {}
        for label, size in (("vga", "640x480"), ("hd", "1280x720")):
            percents, times = zip(*(run(folder, size, reliable, True) for reliable in (False, True)), strict=True)
            figures[f"{label}_percent"] = round(min(percents), 2)
            figures[f"{label}_p50_ms"] = round(max(percentile(each, 0.5) for each in times if each), 2)
            figures[f"{label}_p99_ms"] = round(max(percentile(each, 0.99) for each in times if each), 2)
        default, _ = run(folder, "640x480", False, False)
        default_reliable, _ = run(folder, "640x480", True, False)
    receive_bytes = int(Path("/proc/sys/net/core/rmem_max").read_text())
    baselines = {
        "default_vga_percent": round(default, 2),
        "default_vga_reliable_percent": round(default_reliable, 2),
        "rmem_max_bytes": receive_bytes,
        "other_uid": os.geteuid() == 0,
    }
    report("camera_delivery", {**figures, "default_vga_percent": baselines["default_vga_percent"]}, baselines, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
