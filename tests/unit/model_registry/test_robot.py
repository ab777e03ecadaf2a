"""What robot.toml may say: every number has a range, and a refusal names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_registry.core.errors import UsageError
from model_registry.core.robot import Robot
from model_registry.core.sensors import CameraSettings, JointSettings, JointsSource, Sensors
from tests.fakes.settings import ABSENT, robot_toml

TEXT = robot_toml(
    limits={"linear_jerk": 20.0, "angular_jerk": 40.0},
    sources={"battery": ABSENT},
    lidar={"x": 0.1, "y": 0.0, "yaw": 0.0, "min_valid": 0.5},
    safety={"margin": 0.1, "action_age_s": 0.5, "action_max_age_s": 1.0, "auto_resume_s": 1.0},
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
    "safety.action_max_age_s": (0.5, 5.0),
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


def sensors(folder: Path, **changes: object) -> Sensors:
    (folder / "robot.toml").write_text(robot_toml(**changes))
    return Robot.load(folder / "robot.toml").sensors


def test_without_a_table_there_is_one_camera_called_front_and_there_are_no_joints(tmp_path: Path) -> None:
    found = sensors(tmp_path)
    assert found == Sensors({"front": CameraSettings("/camera/image_raw", None, True)}, {}, None, {})
    assert found.camera("front") == "front" and found.camera("top") is None


def test_cameras_and_joints_are_read_as_they_are_written(tmp_path: Path) -> None:
    found = sensors(
        tmp_path,
        cameras={"left": {"topic": "/l", "max_age_ms": 80, "stamps": False}, "alias": {"top": "left"}},
        sources={"joints": {"max_age_ms": 50}},
        joints={"elbow": {"unit": "deg", "scale": 57.3, "offset": 1.0, "sign": -1}, "wrist": {"sign": 1}},
    )
    assert found.cameras == {"left": CameraSettings("/l", 80.0, False)}
    assert (found.camera("top"), found.camera("left"), found.camera("front")) == ("left", "left", None)
    assert found.joints_source == JointsSource("/joint_states", 50.0, True)
    assert found.joints == {"elbow": JointSettings("deg", 57.3, 1.0, -1), "wrist": JointSettings("rad", 1.0, 0.0, 1)}
    assert found.joints["elbow"].factor == -57.3


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"cameras": {"front": {"stamps": True}}}, "cameras.front.topic"),
        ({"cameras": {"front": {"topic": "/f", "max_age_ms": 0}}}, "cameras.front.max_age_ms"),
        ({"cameras": {"front": {"topic": "/f", "stamps": "no"}}}, "cameras.front.stamps"),
        ({"cameras": {"front": {"topic": "/f", "fps": 30}}}, "cameras.front: unknown key 'fps'"),
        ({"cameras": {"front": {"topic": "/f"}, "alias": {"top": "left"}}}, "cameras.alias.top"),
        ({"sources": {"joints": {"topic": "/j"}}}, "sources.joints.max_age_ms"),
        ({"sources": {"camera": {"stamps": False}}}, "sources: unknown key 'camera'"),
        ({"topics": {"camera": "/f"}}, "topics: unknown key 'camera'"),
        ({"joints": {"elbow": {"sign": 0}}}, "joints.elbow.sign"),
        ({"joints": {"elbow": {"sign": 2}}}, "joints.elbow.sign"),
        ({"joints": {"elbow": {"sign": 0.5}}}, "joints.elbow.sign"),
        ({"joints": {"elbow": {"scale": 0.0}}}, "joints.elbow.scale"),
        ({"joints": {"elbow": {"offset": "1"}}}, "joints.elbow.offset"),
    ],
)
def test_what_a_camera_or_joint_cannot_be_is_refused_with_its_key(
    tmp_path: Path, changes: dict[str, object], key: str
) -> None:
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        sensors(tmp_path, **changes)
