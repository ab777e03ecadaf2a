"""A slot as a process of its own that says one thing at 20 Hz:

`python slot_program.py SLOT RELEASE SPEED STEPS`. Imports nothing of Homeport.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

import rclpy
from rclpy.duration import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint


def main(slot: str, release: str, speed: float, steps: int) -> None:
    rclpy.init()
    node = rclpy.create_node(f"slot_{slot}", enable_rosout=False, start_parameter_services=False)
    publisher = node.create_publisher(JointTrajectory, f"/slot_{slot}/action", 10)
    points = []
    for index in range(steps):
        point = JointTrajectoryPoint(velocities=[speed, 0.0])
        point.time_from_start = Duration(seconds=index * 0.05).to_msg()
        points.append(point)
    message = JointTrajectory(joint_names=["linear_x", "angular_z"], points=points)
    epoch, seq, deadline = time.monotonic_ns(), 0, time.monotonic()
    pause = threading.Event()
    with suppress(OSError):  # as a policy's control thread does, once it has started
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    while rclpy.ok():
        seq += 1
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = f"{release}/{epoch}/{seq}"
        publisher.publish(message)
        deadline += 0.05
        pause.wait(max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
