"""What a slot listens to for its model: the message type and the topic of each sensor, as this robot has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState, LaserScan

from model_registry.core.robot import TOPICS, Robot
from model_registry.core.sensors import JOINTS_TOPIC, CameraSettings, Sensors
from stack.policy.faults import CAMERA
from stack.policy.hearing import SlotInput
from stack.policy.slot import Slot

Take = Callable[[bytes, float, int], None]
"""Takes the bytes of a message, when it came (monotonic s), and the same moment in ROS time (ns)."""


def sensor_inputs(slot: Slot, robot: Robot | None, timed: Callable[[Take], Callable[[bytes], None]]) -> list[SlotInput]:
    """The sensors that `slot` knows, on the topics that the robot has them on; None: on the usual ones.

    `timed` gives what takes a message the time that it came.
    """
    topics = robot.topics if robot else TOPICS
    sensors = robot.sensors if robot else Sensors()
    joints = sensors.joints_source
    kinds: dict[str, tuple[type, str, Take]] = {
        "scan": (LaserScan, topics["scan"], slot.on_scan),
        "joints": (JointState, joints.topic if joints else JOINTS_TOPIC, slot.on_joints),
        "odom": (Odometry, topics["odom"], slot.on_odom),
    }
    for name in slot.sources.cameras:
        settings = sensors.cameras.get(name, CameraSettings())
        kinds[CAMERA + name] = (Image, settings.topic, partial(slot.on_camera, name))
    return [
        SlotInput(name, kind, topic, timed(take), raw=True)
        for name, (kind, topic, take) in kinds.items()
        if name in slot.sources.named
    ]
