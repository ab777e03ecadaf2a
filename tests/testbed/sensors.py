"""A foreign camera and laser: an ordinary ROS 2 program that imports nothing of Homeport.

    python tests/testbed/sensors.py --size 640x480 --hz 30 --frames 300 [--uid 65534] [--reliable] [--scan]
    [--wall-stamps] [--body]

Waits for a subscriber, sends a second of frames with stamp 0, then `--frames` frames, and prints how many those were. A
frame's stamp is the monotonic time it was published at, so that a listener on the same machine knows how long it took;
ROS time with `--wall-stamps`. With `--body` there are a second camera, /wrist/image_raw, and six joints.
"""

from __future__ import annotations

import argparse
import array
import math
import os
import threading
import time

import rclpy
import rclpy.node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState, LaserScan


class Sensors:
    """Publishes from one thread by absolute deadlines."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.node = rclpy.create_node("sensors", enable_rosout=False, start_parameter_services=False)
        self._wall = options.wall_stamps
        kind = ReliabilityPolicy.RELIABLE if options.reliable else ReliabilityPolicy.BEST_EFFORT
        quality = QoSProfile(depth=5, reliability=kind)
        self.camera = self.node.create_publisher(Image, "/camera/image_raw", quality)
        self._laser = self.node.create_publisher(LaserScan, "/scan", quality) if options.scan else None
        self._wrist = self.node.create_publisher(Image, "/wrist/image_raw", quality) if options.body else None
        self._joints = self.node.create_publisher(JointState, "/joint_states", quality) if options.body else None
        width, height = map(int, options.size.split("x"))
        pixels = array.array("B", os.urandom(width * height * 3))
        self._frame = Image(width=width, height=height, encoding="bgr8", step=width * 3, data=pixels)
        self._beams = LaserScan(
            angle_min=-math.pi, angle_max=math.pi, angle_increment=math.tau / 360, range_min=0.05, range_max=12.0
        )
        self._beams.ranges = array.array("f", [2.0] * 360)

    def send(self, number: int, counted: bool) -> None:
        """A frame, and with every third one a scan."""
        now_ns = time.time_ns() if self._wall else time.monotonic_ns() if counted else 0
        stamp = self._frame.header.stamp
        stamp.sec, stamp.nanosec = divmod(now_ns, 1_000_000_000)
        self._frame.data[: 640 * 3] = array.array("B", os.urandom(640 * 3))  # no two frames alike
        if self._laser is not None and number % 3 == 0:
            self._beams.header.stamp = stamp
            self._laser.publish(self._beams)
        if self._joints is not None and self._wrist is not None:
            joints = JointState(name=[f"joint{index}" for index in range(6)], position=[0.1 * number % 1.0] * 6)
            joints.header.stamp = stamp
            self._joints.publish(joints)
            self._wrist.publish(self._frame)
        self.camera.publish(self._frame)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--hz", type=float, default=30.0)
    parser.add_argument("--frames", type=int, default=0, help="0 publishes until it is ended")
    parser.add_argument("--uid", type=int, help="become this user")
    for flag in ("--reliable", "--scan", "--wall-stamps", "--body"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    if (
        options.uid is not None
    ):  # here, since another user may not read this one's interpreter; the middleware starts with the node
        os.setgid(options.uid)
        os.setuid(options.uid)
    sensors, pause = Sensors(options), threading.Event()
    while sensors.camera.get_subscription_count() == 0:
        pause.wait(0.05)
    deadline, warm = time.monotonic(), int(options.hz)
    number = 0
    while not options.frames or number < warm + options.frames:
        pause.wait(max(0.0, deadline - time.monotonic()))
        deadline += 1.0 / options.hz
        sensors.send(number, number >= warm)
        number += 1
    pause.wait(0.5)
    print(options.frames, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
