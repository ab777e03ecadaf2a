"""The seed's own way from a frame to a command, made to run: what its HardwareAcceleratedVLANode does in one tick.

    python -m tests.testbed.seed_node SECONDS BACKEND_MS

Kept: reliable subscriptions of depth 5 to deserialised messages, one thread, inference in a 20 Hz timer, float64
preprocessing of the whole frame, words by hash, a Twist, two status messages and a log line every tick. Replaced:
cv_bridge by the view it gives for bgr8, the network by a sleep of BACKEND_MS. Prints {"overhead_ms": […]}: each tick
less the sleep.
"""

from __future__ import annotations

import json
import sys
import time

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32, String


class SeedNode(Node):
    """Latest messages in, a command out of every tick."""

    def __init__(self, backend_s: float) -> None:
        super().__init__("hardware_accelerated_vla")
        self.create_subscription(Image, "/camera/image_raw", self.on_image, 5)
        self.create_subscription(LaserScan, "/scan", self.on_scan, 5)
        self.cmd_vel = self.create_publisher(Twist, "/cmd_vel", 5)
        self.status = self.create_publisher(String, "/hardware_acceleration_status", 5)
        self.performance = self.create_publisher(Float32, "/inference_performance", 5)
        self.image = self.scan = None
        self.backend_s, self.overhead_ms = backend_s, []
        self.create_timer(0.05, self.loop)

    def on_image(self, message: Image) -> None:
        self.image = message

    def on_scan(self, message: LaserScan) -> None:
        self.scan = message

    def loop(self) -> None:
        if self.image is None or self.scan is None:
            return
        begin = time.monotonic()
        self.vision(self.image)
        self.language("go to the red pillar")
        self.lidar(self.scan)
        before = time.monotonic()
        time.sleep(self.backend_s)
        backend_s = time.monotonic() - before
        output = np.zeros((1, 2), np.float32)
        command = Twist()
        command.linear.x = max(-1.0, min(1.0, float(output[0, 0])))
        command.angular.z = max(-1.0, min(1.0, float(output[0, 1])))
        self.cmd_vel.publish(command)
        took = time.monotonic() - begin
        self.performance.publish(Float32(data=took))
        action = {"linear_x": command.linear.x, "angular_z": command.angular.z}
        body = {
            "timestamp": time.time(),
            "processing_time_ms": took * 1e3,
            "hardware_accelerated": True,
            "action": action,
        }
        self.status.publish(String(data=json.dumps(body)))
        self.get_logger().info(f"Hardware-Accelerated VLA - Processing Time: {took * 1000:.1f}ms, Action - {action}")
        self.overhead_ms.append((time.monotonic() - begin - backend_s) * 1e3)

    def vision(self, message: Image) -> np.ndarray:
        frame = np.ndarray((message.height, message.width, 3), np.uint8, message.data)
        small = cv2.resize(frame, (224, 224))
        normal = (small.astype(np.float32) / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        return np.expand_dims(np.transpose(normal, (2, 0, 1)), axis=0).astype(np.float32)

    def language(self, command: str) -> np.ndarray:
        numbers = [hash(word) % 1000 for word in command.lower().split()]
        return np.array([(numbers + [0] * 10)[:10]], dtype=np.int32)

    def lidar(self, message: LaserScan) -> np.ndarray:
        ranges = np.clip(np.nan_to_num(np.array(message.ranges), nan=3.0), 0.0, 3.0)
        return np.array([ranges[::2]], dtype=np.float32)


def main() -> None:
    seconds, backend_s = float(sys.argv[1]), float(sys.argv[2]) / 1e3
    rclpy.init()
    node, executor = SeedNode(backend_s), SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    print(json.dumps({"overhead_ms": node.overhead_ms}), flush=True)


if __name__ == "__main__":
    main()
