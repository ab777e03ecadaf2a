"""Hears a camera exactly as a slot does (its quality of service, raw bytes, its own reader) and prints what came.

    python -m tests.testbed.camera_listener SECONDS

Prints {"received", "latency_ms": […]} of the frames with a stamp, which is monotonic (see sensors.py), SECONDS after
the first frame.
"""

from __future__ import annotations

import json
import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from stack.policy.cdr import frame, parse_image
from stack.policy.node import _SENSOR


def main() -> None:
    seconds = float(sys.argv[1])
    rclpy.init()
    node = rclpy.create_node("camera_listener", enable_rosout=False, start_parameter_services=False)
    latency_ms: list[float] = []
    heard: list[float] = []

    def on_frame(data: bytes) -> None:
        now_ns = time.monotonic_ns()
        image = parse_image(data)
        frame(image)
        heard.append(now_ns / 1e9)
        if image.stamp_ns:
            latency_ms.append((now_ns - image.stamp_ns) / 1e6)

    node.create_subscription(Image, "/camera/image_raw", on_frame, _SENSOR, raw=True)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    start = time.monotonic()
    while time.monotonic() < (heard[0] if heard else start + 30.0) + seconds:
        executor.spin_once(timeout_sec=0.1)
    print(json.dumps({"received": len(latency_ms), "latency_ms": latency_ms}), flush=True)


if __name__ == "__main__":
    main()
