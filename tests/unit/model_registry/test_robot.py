"""What robot.toml may say: every number has a range, and a refusal names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_registry.core.errors import UsageError
from model_registry.core.robot import Robot
from tests.fakes.settings import ABSENT, robot_toml

TEXT = robot_toml(
    limits={"linear_jerk": 20.0, "angular_jerk": 40.0},
    sources={"battery": ABSENT},
    lidar={"x": 0.1, "y": 0.0, "yaw": 0.0, "min_valid": 0.5},
    safety={"margin": 0.1, "action_age_s": 0.5, "auto_resume_s": 1.0},
    base={"response_s": 0.1},
)
RANGES = {
    "battery_floor": (0.0, 1.0),
    "limits.linear": (0.0, 20.0),
    "limits.angular": (0.0, 20.0),
    "limits.linear_acceleration": (0.01, 100.0),
    "limits.angular_acceleration": (0.01, 100.0),
    "limits.linear_jerk": (0.01, 10_000.0),
    "limits.angular_jerk": (0.01, 10_000.0),
    "sources.scan.max_age_ms": (1.0, 600_000.0),
    "sources.odom.max_age_ms": (1.0, 600_000.0),
    "footprint.radius": (0.01, 10.0),
    "lidar.x": (-10.0, 10.0),
    "lidar.y": (-10.0, 10.0),
    "lidar.yaw": (-7.0, 7.0),
    "lidar.min_valid": (0.01, 1.0),
    "safety.margin": (0.02, 5.0),
    "safety.action_age_s": (0.05, 1.0),
    "safety.auto_resume_s": (0.5, 60.0),
    "base.timeout_s": (0.01, 0.25),
    "base.response_s": (0.0, 1.0),
}


def write(folder: Path, key: str, value: str) -> Path:
    """The robot of TEXT with one number replaced."""
    table, _, name = key.rpartition(".")
    lines, inside = [], ""
    for line in TEXT.splitlines():
        inside = line.strip("[]") if line.startswith("[") else inside
        lines.append(f"{name} = {value}" if inside == table and line.startswith(f"{name} =") else line)
    path = folder / "robot.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("key", RANGES, ids=str)
def test_every_number_has_a_range_and_its_key_is_named(tmp_path: Path, key: str) -> None:
    low, high = RANGES[key]
    for value in (low, high):
        Robot.load(write(tmp_path, key, repr(value)))
    for bad in (repr(low - 0.005), repr(high * 1.001 + 0.001), "nan", "inf", "-inf", "1e308", '"0.1"', "true"):
        with pytest.raises(UsageError, match=key.replace(".", r"\.")):
            Robot.load(write(tmp_path, key, bad))
