"""Say a voice command to a robot, as any ROS 2 program would:

`python say.py "go to the red pillar"`. Ends when the supervisor has accepted it.
"""

from __future__ import annotations

import json
import sys
import time

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String


def main(text: str, deadline_s: float = 15.0) -> int:
    rclpy.init()
    node = rclpy.create_node("operator")
    accepted: list[str] = []
    latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(
        String, "/command", lambda message: accepted.append(json.loads(message.data)["text"]), latched
    )
    publisher = node.create_publisher(String, "/voice_command", 10)
    deadline, said = time.monotonic() + deadline_s, 0.0
    while time.monotonic() < deadline and text not in accepted[-1:]:
        if publisher.get_subscription_count() and time.monotonic() - said > 1.0:
            publisher.publish(String(data=text))
            said = time.monotonic()
        rclpy.spin_once(node, timeout_sec=0.05)
    node.destroy_node()
    rclpy.shutdown()
    return 0 if text in accepted[-1:] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
