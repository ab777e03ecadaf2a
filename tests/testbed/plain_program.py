"""A robot as any ROS 2 programmer would wire it: publishes camera, scan and a command, receives `/cmd_vel`.

Imports nothing of Homeport.

    python plain_program.py "go to the red pillar" SECONDS

The picture shows a red pillar straight ahead. Prints one JSON line: how many commands came, and the fastest ones.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from array import array

import rclpy
from geometry_msgs.msg import Twist
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import String

WIDTH, HEIGHT = 320, 240


def picture() -> bytes:
    """Floor, wall, and a red pillar in the middle, as rgb8."""
    rows = []
    for y in range(HEIGHT):
        ground = (150, 150, 155) if y < HEIGHT // 2 else (96, 88, 80)
        row = bytearray(bytes(ground) * WIDTH)
        if HEIGHT // 2 - 45 <= y < HEIGHT // 2 + 40:
            row[3 * 148 : 3 * 172] = bytes((214, 40, 36)) * 24
        rows.append(bytes(row))
    return b"".join(rows)


class PlainRobot(Node):
    def __init__(self, command: str) -> None:
        super().__init__("plain_robot")
        self.heard: list[tuple[float, float]] = []
        self._command = command
        self._camera = self.create_publisher(Image, "/camera/image_raw", qos_profile_sensor_data)
        self._scan = self.create_publisher(LaserScan, "/scan", qos_profile_sensor_data)
        self._voice = self.create_publisher(String, "/voice_command", 10)
        self.create_subscription(Twist, "/cmd_vel", lambda m: self.heard.append((m.linear.x, m.angular.z)), 10)
        self._scans = 0
        self._frame = Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH, data=picture())
        self._beams = LaserScan(
            angle_min=-math.pi, angle_max=math.pi, angle_increment=math.tau / 360, range_min=0.05, range_max=10.0
        )
        self.create_timer(1 / 15, self.see)
        self.create_timer(1 / 10, self.feel)
        self.create_timer(1.0, lambda: self._voice.publish(String(data=self._command)))

    def see(self) -> None:
        self._frame.header.stamp = self.get_clock().now().to_msg()
        # A real sensor never gives the same picture twice; one that does is taken for frozen.
        self._frame.data[: 3 * WIDTH] = array("B", (150 + byte % 4 for byte in os.urandom(3 * WIDTH)))
        self._camera.publish(self._frame)

    def feel(self) -> None:
        self._scans += 1  # no two scans of a real laser are equal
        self._beams.ranges = [2.5 + 0.001 * (self._scans % 7)] * 360
        self._beams.header.stamp = self.get_clock().now().to_msg()
        self._scan.publish(self._beams)


def main(command: str, seconds: float) -> None:
    rclpy.init()
    robot = PlainRobot(command)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not any(v > 0.2 for v, _ in robot.heard):
        rclpy.spin_once(robot, timeout_sec=0.05)
    fastest = max((v for v, _ in robot.heard), default=0.0)
    turning = max((abs(w) for _, w in robot.heard), default=0.0)
    print(json.dumps({"commands": len(robot.heard), "fastest_mps": fastest, "turning_radps": turning}))
    robot.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
