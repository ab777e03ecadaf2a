"""The monitor as a real process on real topics."""

from __future__ import annotations

import json
import signal
import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from std_msgs.msg import String

from model_registry.core.layout import Layout
from tests.fakes.ros import Process, Ros, allocate_domain_id, ros_env, wait_until

KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_the_monitor_says_what_it_reads_and_hears_and_ends_when_told(tmp_path):
    domain, layout = allocate_domain_id(), Layout.at(tmp_path)
    with Ros(tmp_path, domain) as ros:
        heard = ros.record("/diagnostics", DiagnosticArray)

        def latest():
            return {each.name: each for each in heard[-1][1].status} if heard else {}

        with Process(
            ["stack.monitor", "--root", str(tmp_path)], ros_env(tmp_path, domain), tmp_path / "log"
        ) as process:
            wait_until(lambda: len(heard) >= 2, 20.0, "two messages on /diagnostics")
            assert {name: each.message for name, each in latest().items() if name != "homeport: machine"} == {
                "homeport: slot a": "no data", "homeport: slot b": "no data", "homeport: supervisor": "no data",
            }  # fmt: skip
            path = layout.slot_status("a")
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"state": "ready", "monotonic_ns": time.monotonic_ns() + 60_000_000_000}))
            said_once = ros.publisher("/safety/state", String, KEPT)
            said_once.publish(String(data='{"state":"LATCHED"}'))
            wait_until(lambda: latest()["homeport: slot a"].message == "ready", 10.0, "the slot's state")
            found = wait_until(
                lambda: latest()["homeport: supervisor"].message == "LATCHED" and latest(), 10.0, "its state"
            )
            assert found["homeport: supervisor"].level == b"\x02"
            by_the_way = ros.publisher("/safety/state", String, qos_profile_sensor_data)

            def heard_by_the_way():
                by_the_way.publish(String(data='{"state":"RUN"}'))
                return latest()["homeport: supervisor"].message == "RUN"

            wait_until(heard_by_the_way, 10.0, "a best-effort state to be heard")
            process.signal(signal.SIGTERM)
            assert process.wait(5.0) == 0
    assert "Traceback" not in process.text
