"""Messages that contradict themselves, each other or the commands: scan, odometry and battery.

Between them stand odd ones that are right, and must not stop anything.
"""

from __future__ import annotations

import math
import random

from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, LaserScan

from tests.testbed.deeds import body
from tests.testbed.injection import Case, Deed
from tests.testbed.played import SENSOR, PlayedRobot, Repeat

NAN, INF = math.nan, math.inf
STEP = math.tau / 360
LAST = -math.pi + 359 * STEP
SOON, FROZEN, RAMPED = 200.0, 1100.0, 850.0


def header(**fields: object) -> Deed:
    """Bend the header of the scan."""
    return body(scan_header=fields)


DEGREES = header(angle_min=-180.0, angle_max=179.0, angle_increment=1.0)
TWICE_AROUND = header(angle_increment=2 * STEP, angle_max=-math.pi + 718 * STEP)
MILLIMETRES = body(ranges=[350.0 + 10.0 * index for index in range(360)])
UPSIDE_DOWN = header(angle_min=math.pi, angle_max=-LAST, angle_increment=-STEP)


def old_scans(count: int) -> list[list[float]]:
    """What a scanner once said, beam by beam, with its noise."""
    noise = random.Random(7)
    return [[round(noise.gauss(5.0, 0.004), 3) for _ in range(360)] for _ in range(count)]


class Second:
    """A second driver on one of the body's topics, from the deed until it is healed."""

    def __init__(self, kind: type, topic: str, hz: float, of: str) -> None:
        self._kind, self._topic, self._hz, self._of = kind, topic, hz, of
        self._repeat: Repeat | None = None

    def begin(self, robot: PlayedRobot) -> None:
        quality = 10 if self._kind is BatteryState else SENSOR
        publisher = robot.ros.publisher(self._topic, self._kind, quality)
        self._repeat = Repeat(self._hz, lambda: publisher.publish(self._message(robot)))
        self._repeat.start()

    def _message(self, robot: PlayedRobot) -> object:
        return BatteryState(percentage=0.1, location="rear") if self._of == "" else getattr(robot.body, self._of)()

    def end(self, robot: PlayedRobot) -> None:
        if self._repeat is not None:
            self._repeat.stop()


SECOND_SCANNER = Second(LaserScan, "/scan", 10.0, "scan_message")
SECOND_ODOMETRY = Second(Odometry, "/odom", 50.0, "odometry_message")
SECOND_BATTERY = Second(BatteryState, "/battery_state", 2.0, "")


CASES = (
    Case("scan_increment_doubled", header(angle_increment=2 * STEP), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_increment_halved", header(angle_increment=STEP / 2), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_increment_of_the_other_sign", header(angle_increment=-STEP), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_increment_in_degrees", header(angle_increment=1.0), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_angles_in_degrees", DEGREES, "SAFE_STOP", "scan_bad", SOON),
    Case("scan_twice_around", TWICE_AROUND, "SAFE_STOP", "scan_bad", SOON),
    Case("scan_without_angle_max", header(angle_max=0.0), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_angle_not_finite", header(angle_max=NAN), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_of_half_the_beams", body(ranges=[5.0] * 180), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_range_limits_exchanged", header(range_min=10.0, range_max=0.05), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_in_millimetres", MILLIMETRES, "SAFE_STOP", "scan_bad", SOON),
    Case("scan_of_too_few_beams", body(ranges=[5.0] * 100 + [NAN] * 260), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_of_another_frame", header(frame_id="rear_laser"), "SAFE_STOP", "scan_bad", SOON),
    Case("scan_of_a_second_scanner", SECOND_SCANNER.begin, "SAFE_STOP", "scan_bad", 400.0, SECOND_SCANNER.end),
    Case("scans_two_old_ones_in_turn", body(scans=old_scans(2)), "SAFE_STOP", "scan_bad", FROZEN),
    Case("scans_twenty_old_ones_in_turn", body(scans=old_scans(20)), "SAFE_STOP", "scan_bad", FROZEN + 2000.0),
    Case("scan_with_one_living_beam", body(frozen_beams=359), "SAFE_STOP", "scan_bad", FROZEN),
    Case("scan_of_a_scanner_upside_down", UPSIDE_DOWN, "RUN", "", None),
    Case("scan_angle_max_behind_the_last_beam", header(angle_max=math.pi), "RUN", "", None),
    Case("scan_of_an_empty_hall", body(ranges=[10.0] * 360), "RUN", "", None),
    Case("odom_twist_of_zero", body(twist_scale=0.0), "SAFE_STOP", "odom_bad", 2200.0),
    Case("odom_wrong_sign", body(twist_scale=-1.0), "SAFE_STOP", "odom_bad", 900.0),
    Case("odom_a_tenth", body(twist_scale=0.1), "SAFE_STOP", "odom_bad", 2600.0),
    Case("odom_five_times", body(twist_scale=5.0), "SAFE_STOP", "odom_bad", 900.0),
    Case("odom_a_tenth_without_a_pose", body(twist_scale=0.1, pose_on=False), "SAFE_STOP", "odom_bad", 2600.0),
    Case("odom_of_no_robot", body(odom_value=1e308), "SAFE_STOP", "odom_bad", 100.0),
    Case("odom_pose_jumps", body(pose_jump_m=3.0), "SAFE_STOP", "odom_bad", 150.0),
    Case("odom_of_another_frame", body(odom_frames=("map", "")), "SAFE_STOP", "odom_bad", 100.0),
    Case("odom_of_a_second_driver", SECOND_ODOMETRY.begin, "SAFE_STOP", "odom_bad", 200.0, SECOND_ODOMETRY.end),
    Case("odom_without_a_pose", body(pose_on=False), "RUN", "", None),
    Case("battery_in_percent", body(battery=87.0), "SAFE_STOP", "battery_stale", RAMPED),
    Case("battery_of_3e38", body(battery=3e38), "SAFE_STOP", "battery_stale", RAMPED),
    Case("battery_fuller_than_full", body(battery=1.004), "RUN", "", None),
    Case("battery_of_two_the_lower", SECOND_BATTERY.begin, "SAFE_STOP", "battery_low", RAMPED, SECOND_BATTERY.end),
)  # fmt: skip
