"""The supervisor as a real process on real topics, with slots and sensors played by this test."""

from __future__ import annotations

import json
import math
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import Bool, String

from model_registry.core.errors import LockedError, RefusedError
from tests.fakes.ros import Process, wait_until
from tests.testbed.played import NEW, OLD, ROBOT, PlayedRobot


@pytest.fixture
def bench(tmp_path):
    with PlayedRobot(tmp_path) as robot:
        yield robot


def zero_since(messages, start_s):
    """Speeds received later than `start_s`."""
    return [message.linear.x for at_s, message in messages if at_s > start_s]


def test_it_publishes_zero_until_it_is_armed_and_then_what_the_slot_asks(bench):
    wait_until(lambda: not bench.status["blocking"], 15.0, "nothing to block arming")
    wait_until(lambda: len(bench.cmd_vel) > 20, 10.0, "zeros on /cmd_vel")
    assert {message.linear.x for _, message in bench.cmd_vel} == {0.0}
    assert bench.arm()["armed"]
    wait_until(lambda: bench.speed == pytest.approx(0.3), 5.0, "0.3 m/s")
    assert bench.status["state"] == "RUN"
    assert bench.applied[-1][1].header.frame_id.startswith(OLD.short)


def test_a_silent_slot_stops_the_robot_and_it_stays_stopped_until_it_is_armed_again(bench):
    bench.drive()
    bench.slots["a"].stop()
    stopped_s = time.monotonic()
    wait_until(lambda: bench.speed == 0.0, 2.0, "zero")
    assert "silence" in bench.status["reasons"]
    with pytest.raises(RefusedError, match="silence"):
        bench.operator("arm")
    bench.slots["a"].start()
    wait_until(lambda: not bench.status["blocking"], 5.0, "the slot to be heard")
    assert bench.status["state"] == "SAFE_STOP"
    healed_s = time.monotonic()
    wait_until(
        lambda: time.monotonic() - healed_s > 1.0 and zero_since(bench.cmd_vel, healed_s), 5.0, "a second of commands"
    )
    assert set(zero_since(bench.cmd_vel, stopped_s + 0.3)) == {0.0}, "nothing resumes by itself"
    bench.drive()


def test_a_lost_scan_stops_the_robot_and_is_named(bench):
    bench.drive()
    bench.body.scan_on = False
    wait_until(lambda: bench.speed == 0.0, 3.0, "zero")
    wait_until(lambda: bench.status["blocking"] == ["scan_stale"], 2.0, "scan_stale")
    assert bench.status["sources"]["scan"]["fault"] == "too old"


def test_a_cutover_never_commands_zero_and_never_jumps(bench):
    bench.drive()
    bench.wait_selectable("b")
    start = len(bench.cmd_vel)
    taken = bench.select_new()
    wait_until(lambda: bench.speed == pytest.approx(0.4), 5.0, "0.4 m/s")
    speeds = [message.linear.x for _, message in bench.cmd_vel[start - 1 :]]
    assert min(speeds) >= 0.3 - 1e-6
    assert max(abs(b - a) for a, b in pairwise(speeds)) <= 2.0 * 0.02 + 1e-6
    assert taken["tick"] > 0
    assert bench.status["probation"]["fallback"] == "a"


def test_a_select_is_refused_for_another_release_and_for_a_slot_that_is_not_ready(bench):
    bench.wait_selectable("b")
    with pytest.raises(RefusedError, match="carry release"):
        bench.control("select", slot="b", release=str(OLD), probation_s=0, fallback=None)
    bench.slots["b"].stop()
    wait_until(lambda: not bench.status["slots"]["b"]["selectable"], 5.0, "slot b not to be selectable")
    with pytest.raises(RefusedError, match="not selectable"):
        bench.control("select", slot="b", release=str(NEW), probation_s=0, fallback=None)
    assert bench.status["selected"]["slot"] == "a"


def test_a_candidate_that_says_nan_is_reverted_while_the_robot_goes_on(bench):
    bench.drive()
    bench.select_new()
    wait_until(lambda: bench.speed == pytest.approx(0.4), 5.0, "0.4 m/s")
    start = len(bench.cmd_vel)
    bench.slots["b"].speed = float("nan")
    wait_until(lambda: bench.status["reverted"], 3.0, "the reversal")
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")
    status = bench.status
    assert (status["selected"]["slot"], status["state"], status["armed"]) == ("a", "RUN", True)
    assert (status["reverted"]["reason"], status["reverted"]["to"]) == ("non_finite", "a")
    assert min(message.linear.x for _, message in bench.cmd_vel[start:]) >= 0.3 - 1e-6


def test_a_candidate_that_goes_silent_is_reverted_while_the_robot_goes_on(bench):
    bench.drive()
    bench.select_new()
    bench.slots["b"].stop()
    wait_until(lambda: bench.status["reverted"], 3.0, "the reversal")
    assert bench.status["reverted"]["reason"] == "silence"
    assert bench.status["armed"]


def test_nan_without_a_way_back_latches(bench):
    bench.drive()
    bench.slots["a"].speed = float("nan")
    wait_until(lambda: bench.status["state"] == "LATCHED", 3.0, "LATCHED")
    wait_until(lambda: bench.speed == 0.0, 2.0, "zero")
    assert bench.status["latched"] == ["non_finite"]


def test_an_estop_latches_and_reset_is_not_arm(bench):
    bench.drive()
    bench.estop.publish(Bool(data=True))
    wait_until(lambda: bench.status["state"] == "LATCHED", 3.0, "LATCHED")
    with pytest.raises(RefusedError, match="estop"):
        bench.operator("arm")
    with pytest.raises(RefusedError, match="estop"):
        bench.operator("reset")
    bench.estop.publish(Bool(data=False))
    wait_until(lambda: bench.status["reasons"] == [] and bench.speed == 0.0, 3.0, "the switch to be released")
    wait_until(lambda: abs(bench.status["speed"]["linear"]) < 0.01, 3.0, "standstill")
    assert bench.operator("reset") == {"state": "SAFE_STOP", "armed": False, "blocking": []}
    bench.drive()


def test_hold_ramps_to_zero_and_unhold_goes_on_without_arming(bench):
    bench.drive()
    assert bench.control("hold", owner="agent", reason="switch")["held"]
    wait_until(lambda: bench.control("hold", owner="agent", reason="switch")["at_zero"], 3.0, "zero speed")
    assert bench.status["armed"]
    assert not bench.control("unhold", owner="agent")["held"]
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")


def test_the_word_stop_needs_no_model_and_a_new_command_goes_on(bench):
    bench.drive()
    wait_until(lambda: bench.voice.get_subscription_count() > 0, 10.0, "the voice subscription")
    bench.voice.publish(String(data="Stop!"))
    wait_until(lambda: bench.speed == 0.0, 3.0, "zero")
    assert json.loads(bench.commands[-1][1].data) == {"text": "stop", "seq": 1, "remaining_s": None}
    bench.voice.publish(String(data="Go to the RED pillar"))
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")
    assert json.loads(bench.commands[-1][1].data)["text"] == "go to the red pillar"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_last_message_before_the_process_ends_is_zero(bench, number):
    bench.drive()
    bench.supervisor.signal(number)
    assert bench.supervisor.wait(5.0) == 0
    wait_until(lambda: time.monotonic() - bench.cmd_vel[-1][0] > 0.3, 5.0, "silence on /cmd_vel")
    assert bench.speed == 0.0
    assert not json.loads(bench.states[-1][1].data)["armed"]


def test_a_second_supervisor_on_the_same_root_is_refused(bench, tmp_path):
    argv = ["stack.supervisor", "--root", str(bench.layout.root)]
    with Process(argv, bench.environment, tmp_path / "second") as second:
        assert second.wait(10.0) == LockedError.exit_code
    assert Path(bench.layout.control_socket).exists()
    assert bench.status["seq"] > 0


def set_parameter(bench, name, value):
    """As `ros2 param set` does; the answer of the supervisor."""
    service = "/homeport_supervisor/set_parameters"
    client = bench.ros.node.create_client(SetParameters, service)
    assert client.wait_for_service(10.0), service
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    future = client.call_async(request)
    wait_until(future.done, 5.0, "the parameter to be answered")
    bench.ros.node.destroy_client(client)
    return future.result().results[0]


def test_r13_a_threshold_is_a_parameter_with_a_range_that_only_gets_stricter_while_driving(bench):
    bench.drive()
    assert set_parameter(bench, "max_linear", 0.1).successful
    bench.wait_speed(0.1)
    refused = set_parameter(bench, "max_linear", 0.4)
    assert not refused.successful
    assert "disarm it first" in refused.reason
    bench.operator("estop")
    bench.wait_state("LATCHED")
    assert set_parameter(bench, "max_linear", 0.4).successful
    assert not set_parameter(bench, "max_linear", 0.6).successful, "never above robot.toml"


def span_s(messages, count):
    """How long the first `count` of them took to come."""
    return messages[count - 1][0] - messages[0][0]


def owners(look, topic):
    """Who publishes or hears a topic, beside this test, once the graph knows their names."""

    def known():
        found = [each for each in look(topic) if each.node_name != "test"]
        return found if all("UNKNOWN" not in each.node_name for each in found) else []

    return wait_until(known, 10.0, f"the ends of {topic}")


@pytest.mark.parametrize(
    ("row", "topic", "kind"),
    [
        ("t06", "/cmd_vel", "geometry_msgs/msg/Twist"),
        ("t12", "/safety_status", "std_msgs/msg/Bool"),
        ("t13", "/safety_log", "std_msgs/msg/String"),
    ],
)
def test_t06_t12_t13_are_published_by_the_supervisor_alone(bench, row, topic, kind):
    [owner] = owners(bench.ros.node.get_publishers_info_by_topic, topic)
    assert (owner.node_name, owner.topic_type) == ("homeport_supervisor", kind)
    assert owner.qos_profile.reliability is ReliabilityPolicy.RELIABLE
    assert owner.qos_profile.durability is DurabilityPolicy.VOLATILE


@pytest.mark.parametrize(
    ("row", "topic", "kind"),
    [
        ("t02", "/scan", "sensor_msgs/msg/LaserScan"),
        ("t04", "/voice_command", "std_msgs/msg/String"),
        ("t05", "/battery_state", "sensor_msgs/msg/BatteryState"),
    ],
)
def test_t02_t04_t05_are_heard_by_the_supervisor_itself(bench, row, topic, kind):
    ears = owners(bench.ros.node.get_subscriptions_info_by_topic, topic)
    assert {(ear.node_name, ear.topic_type) for ear in ears} == {("homeport_supervisor", kind)}


def test_t05_a_battery_below_a_fifth_stops_the_robot_and_its_silence_too(bench):
    bench.drive()
    bench.body.battery = 0.19
    wait_until(lambda: bench.speed == 0.0 and "battery_low" in bench.status["reasons"], 5.0, "a stop")
    assert bench.status["battery"] == pytest.approx(0.19)
    bench.body.battery = 0.9
    bench.drive()
    bench.body.battery = math.nan
    wait_until(lambda: bench.speed == 0.0 and "battery_stale" in bench.status["reasons"], 5.0, "a stop")


def test_t06_the_command_comes_at_50_hz_also_in_silence_and_only_in_two_directions(bench):
    bench.drive()
    bench.slots["a"].stop()
    start = len(bench.cmd_vel)
    wait_until(lambda: len(bench.cmd_vel) >= start + 101, 20.0, "a hundred commands")
    assert span_s(bench.cmd_vel[start:], 101) > 1.5, "not more than 50 a second"
    for _, twist in bench.cmd_vel:
        assert (twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y) == (0.0, 0.0, 0.0, 0.0)


def test_t12_the_safety_status_can_be_false(bench):
    bench.drive()
    wait_until(lambda: bench.safe and bench.safe[-1][1].data, 3.0, "true on /safety_status")
    bench.body.scan_on = False
    wait_until(lambda: not bench.safe[-1][1].data, 3.0, "false on /safety_status")


def test_t12_the_safety_status_comes_at_20_hz_whatever_it_says(bench):
    wait_until(lambda: len(bench.safe) >= 45, 20.0, "its messages before anything was armed")
    assert not any(message.data for _, message in bench.safe)
    assert span_s(bench.safe[4:], 41) > 1.5, "not more than 20 a second"


def logged(bench, key):
    return [record for _, text in list(bench.log) if key in (record := json.loads(text.data))]


def test_t13_the_safety_log_has_edges_and_the_keys_of_the_seed(bench):
    bench.slots["a"].effort = [0.75]
    bench.drive()
    wait_until(lambda: logged(bench, "event"), 3.0, "an edge")
    record = wait_until(lambda: logged(bench, "command"), 5.0, "a record")[0]
    assert set(record) == {"timestamp", "safety_score", "processing_time", "command", "battery_level"}
    assert record["command"] == {"linear_x": pytest.approx(0.3, abs=0.01), "angular_z": 0.0}
    assert record["safety_score"] == 0.75
    assert record["battery_level"] == pytest.approx(0.9)
    edge = logged(bench, "event")[0]
    assert {"timestamp", "event", "reason", "safety_violations_count"} <= set(edge)


def test_t13_a_score_that_is_none_is_null_whatever_a_slot_says_and_a_record_comes_once_a_second(bench):
    bench.slots["a"].effort = [math.nan]
    bench.drive()
    wait_until(lambda: len(logged(bench, "command")) >= 2, 10.0, "two records")
    bench.slots["a"].effort = [0.2, 1e308, -math.inf]
    wait_until(lambda: len(logged(bench, "command")) >= 4, 10.0, "four records")
    records = logged(bench, "command")
    assert [record["safety_score"] for record in records] == [None] * len(records)
    assert records[3]["timestamp"] - records[0]["timestamp"] > 2.4, "not more than one a second"
    assert bench.status["state"] == "RUN" and bench.speed == pytest.approx(0.3)


def test_a_supervisor_that_starts_again_reads_current_and_waits_to_be_armed(bench):
    """Whatever was selected before: only `current` outlives a process."""
    bench.drive()
    bench.wait_selectable("b")
    bench.select_new()
    wait_until(lambda: bench.status["selected"]["slot"] == "b", 5.0, "the candidate to drive")
    bench.supervisor.signal(signal.SIGKILL)
    bench.supervisor.wait(5.0)
    died_s = time.monotonic()

    bench.start_supervisor()

    status = bench.status
    assert status["selected"]["slot"] == "a" and status["selected"]["release"] == str(OLD) and not status["armed"]
    wait_until(lambda: len(zero_since(bench.cmd_vel, died_s)) > 60, 10.0, "more than a second of commands")
    assert set(zero_since(bench.cmd_vel, died_s)) == {0.0} and not bench.status["armed"]
    bench.drive()


def test_the_base_stops_by_itself_when_the_supervisor_is_killed(tmp_path):
    """The simulator, as every base must, brakes 0.25 s after the last command."""
    with PlayedRobot(tmp_path, body=("stack.sim", "--layout", "empty")) as robot:
        robot.drive()
        wait_until(lambda: robot.measured > 0.2, 5.0, "the base to move")
        robot.supervisor.signal(signal.SIGKILL)
        wait_until(lambda: robot.measured < 0.02, 2.0, "the base to stand")
        assert robot.speed == pytest.approx(0.3, abs=0.01), "nobody said zero"


def test_a_robot_that_moves_is_not_armed_before_it_stands(bench):
    bench.wait_healthy()
    bench.body.pushed = 0.4
    wait_until(lambda: bench.status["blocking"] == ["moving"], 5.0, "its motion to be all that blocks it")
    with pytest.raises(RefusedError, match="moving"):
        bench.operator("arm")
    bench.body.pushed, bench.body.odom_value = 0.0, 0.4
    wait_until(lambda: bench.measured == 0.4, 5.0, "odometry that says 0.4 m/s")
    with pytest.raises(RefusedError, match="moving"):
        bench.operator("arm")
    bench.body.heal()
    bench.drive()


def test_a_scanner_that_is_mounted_backwards_is_read_as_the_robot_says(tmp_path):
    with PlayedRobot(tmp_path, robot=f"{ROBOT}[lidar]\nyaw = 3.14159265\n") as robot:
        robot.body.thing = (0.0, 0.5)  # ahead of the scanner: behind the robot
        robot.drive()
        robot.body.thing = (math.pi - 0.1, 0.24)
        wait_until(lambda: robot.speed == 0.0, 3.0, "zero")
        assert "obstacle" in robot.status["limited_by"] or not robot.status["armed"]
