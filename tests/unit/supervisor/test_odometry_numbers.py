"""Odometry that contradicts itself, the commands, or what a robot can do; and all the odometry that does not."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_registry.core.errors import RefusedError
from stack.supervisor.following import Following
from stack.supervisor.odometry import Odometry, Pose, Track, pose_of
from tests.fakes.supervision import LIMITS, Bench, status


def told(bench):
    return status(bench)["sources"]["odom"]["fault"]


def fault_within(bench, seconds):
    """What is wrong with odometry first, at most so much later; the robot stands then, and is told why."""
    for _ in range(round(seconds * 50)):
        bench.tick()
        if fault := told(bench):
            assert status(bench)["reasons"] == ["odom_bad"]
            assert bench.outputs[-1].command == (0.0, 0.0)
            return fault
    return None


def scaled(factor):
    return lambda odometry: odometry._replace(speed=(factor * odometry.speed[0], factor * odometry.speed[1]))


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.1, 5.0])
@pytest.mark.parametrize("wanted", [(0.3, 0.0), (0.0, 0.8), (-0.3, 0.2)], ids=["ahead", "turn", "back"])
def test_a_twist_that_is_not_what_the_pose_does_stops(factor, wanted):
    bench = Bench()
    bench.speeds["a"] = wanted
    bench.drive()
    bench.bend = scaled(factor)
    fault = fault_within(bench, 2.0)
    assert "says" in fault or "while the pose moves" in fault


def test_the_sentence_carries_both_numbers():
    bench = Bench()
    bench.drive()
    bench.bend = scaled(0.0)
    fault = fault_within(bench, 2.0)
    assert fault.startswith("contradicts itself: a twist of 0")
    assert "while the pose moves 0.3 m/s" in fault


@pytest.mark.parametrize("factor", [0.0, 0.1, -1.0, 5.0])
def test_a_measured_speed_that_is_not_what_was_commanded_stops_also_without_a_pose(factor):
    bench = Bench()
    bench.bend = lambda odometry: odometry._replace(pose=None)
    bench.drive()
    bench.bend = lambda odometry: scaled(factor)(odometry._replace(pose=None, content=repr(bench.now_s).encode()))
    assert "m/s where" in fault_within(bench, 3.0)


def test_odometry_without_a_pose_drives():
    bench = Bench()
    bench.bend = lambda odometry: odometry._replace(pose=None, content=b"0.3")
    bench.drive()
    bench.tick(500)
    assert (bench.state, told(bench)) == ("RUN", None)


def test_odometry_without_a_yaw_drives_and_still_tells_a_twist_of_zero():
    bench = Bench()
    bench.bend = lambda odometry: odometry._replace(pose=odometry.pose._replace(yaw=0.0))
    bench.speeds["a"] = (0.3, 0.1)
    bench.drive()
    bench.tick(500)
    assert (bench.state, told(bench)) == ("RUN", None)
    bench.bend = lambda odometry: odometry._replace(pose=odometry.pose._replace(yaw=None), speed=(0.0, 0.0))
    assert "while the pose moves" in fault_within(bench, 2.0)


def test_what_moves_is_not_armed_and_not_reset():
    bench = Bench()
    bench.measured = (0.4, 0.0)
    bench.tick(70)
    assert status(bench)["blocking"] == ["moving"]
    assert "moving" in str(bench.operator("arm"))
    bench.operator("estop")
    assert "moving" in str(bench.operator("reset"))
    bench.measured = None
    bench.tick(5)
    assert isinstance(bench.operator("reset"), dict)
    assert isinstance(bench.operator("arm"), dict)


@pytest.mark.parametrize(
    "bend",
    [
        lambda odometry: odometry._replace(speed=(0.0, 0.0)),
        lambda odometry: odometry._replace(pose=Pose(0.0, 0.0, 0.0)),
        lambda odometry: odometry._replace(speed=(0.0, 0.0), pose=None, sideways=0.4),
    ],
    ids=["only the pose moves", "only the twist moves", "it slides sideways"],
)
def test_standing_is_what_twist_and_pose_both_say(bend):
    bench = Bench()
    bench.measured = (0.4, 0.0)
    bench.bend = bend
    bench.tick(20)
    assert isinstance(bench.operator("arm"), RefusedError)


def test_a_robot_that_is_pushed_while_it_is_told_nothing_is_not_at_fault():
    bench = Bench()
    bench.measured = (0.4, 0.3)
    bench.tick(500)
    assert (told(bench), status(bench)["reasons"]) == (None, [])


def test_an_armed_robot_may_be_armed_again_while_it_drives():
    bench = Bench()
    bench.drive()
    assert bench.operator("arm")["armed"]
    assert status(bench)["blocking"] == []


def test_a_way_that_is_not_free_is_not_driven_on_by_odometry_that_says_too_little():
    bench = Bench()
    bench.drive()
    bench.bend = scaled(0.0)
    bench.thing = (0.0, 0.23)
    bench.tick(6)
    assert "obstacle" in status(bench)["reasons"]


def test_a_larger_measured_speed_counts_as_before_and_both_count_when_they_are_opposed():
    bench = Bench()
    bench.drive()
    sources = bench.supervisor.sources
    sources.speed = (0.4, 0.0)
    assert sources.speeds((0.3, 0.1)) == ((0.4, 0.0),)
    assert sources.speeds((0.5, 0.1)) == ((0.5, 0.1),)
    assert sources.speeds((-0.3, 0.0)) == ((0.4, 0.0), (-0.3, 0.0))


@pytest.mark.parametrize("speed", [(1e308, 0.0), (0.0, -1e9), (math.nan, 0.0), (0.1, math.inf)])
def test_a_speed_that_no_robot_has_is_a_fault_and_not_used(speed):
    bench = Bench()
    bench.drive()
    bench.bend = lambda odometry: odometry._replace(speed=speed)
    bench.tick(2)
    assert "fix the driver" in told(bench)
    assert bench.supervisor.sources.speed == pytest.approx((0.3, 0.0))


def test_a_pose_that_jumps_once_is_excused_and_again_is_a_fault():
    bench = Bench()
    bench.drive()
    bench.bend = lambda odometry: odometry._replace(pose=odometry.pose._replace(x=odometry.pose.x + 5.0))
    bench.tick(40)
    assert (bench.state, told(bench)) == ("RUN", None)
    bench.bend = lambda odometry: odometry
    bench.tick(2)
    assert told(bench).startswith("pose jumps: 4.99 m and 0 rad")


def test_a_base_without_power_is_a_fault_also_where_its_odometry_trembles():
    bench = Bench()
    bench.drive()
    bench.measured = (0.0, 0.0)
    trembling = random.Random(1)
    bench.bend = lambda odometry: odometry._replace(
        speed=(trembling.gauss(0.0, 0.003), 0.0), content=repr(bench.now_s).encode()
    )
    assert "motor power" in fault_within(bench, 3.0)


def test_a_base_that_does_not_follow_a_slow_command_is_at_rest_and_not_frozen():
    bench = Bench()
    bench.speeds["a"] = (0.05, 0.0)
    bench.measured = (0.0, 0.0)
    bench.drive()
    bench.tick(500)
    assert (bench.state, told(bench)) == ("RUN", None)


class Base:
    """A base as they are: it follows late, slower or faster than told, and not at all below a dead band; its odometry
    is noisy and late.
    """

    def __init__(self, lag_s=0.1, gain=1.0, slope=2.0, dead=0.0, noise=0.002, hz=50.0, delay=0, seed=0):
        self.lag_s, self.gain, self.slope, self.dead, self.noise, self.every, self.delay = (
            lag_s, gain, slope, dead, noise, round(50.0 / hz), delay,
        )  # fmt: skip
        self.random = random.Random(seed)
        self.speed, self.x, self.y, self.yaw = (0.0, 0.0), 0.0, 0.0, self.random.uniform(-3.0, 3.0)
        self.pending = []

    def step(self, command):
        """Twenty milliseconds; the pose and twist that its driver would send now."""
        wanted = [self.gain * value if abs(value) > self.dead else 0.0 for value in command]
        follow, most = 0.02 / max(self.lag_s, 0.02), 0.02 * self.slope
        steps = [max(-most, min(most, follow * (want - now))) for want, now in zip(wanted, self.speed, strict=True)]
        self.speed = self.speed[0] + steps[0], self.speed[1] + 2.0 * steps[1]
        self.yaw += self.speed[1] * 0.02
        self.x += self.speed[0] * 0.02 * math.cos(self.yaw)
        self.y += self.speed[0] * 0.02 * math.sin(self.yaw)
        shake = self.random.gauss
        twist = self.speed[0] + shake(0.0, self.noise), self.speed[1] + shake(0.0, 2 * self.noise)
        pose = Pose(self.x + shake(0, self.noise), self.y + shake(0, self.noise), math.remainder(self.yaw, math.tau))
        self.pending.append((twist, pose))
        return self.pending.pop(0) if len(self.pending) > self.delay else None


def drive_for(base, seconds, seed=0):
    """Random commands along the limiter's slopes; every fault of twist, pose and command, with its time."""
    choose, track, following = random.Random(seed), Track(LIMITS), Following(0.1)
    target = now = (0.0, 0.0)
    faults = set()
    for tick in range(round(seconds * 50)):
        at_s = 100.0 + tick * 0.02
        if tick % 75 == 0:
            target = choose.choice([(0.0, 0.0), (choose.uniform(-0.5, 0.5), choose.uniform(-1.0, 1.0)), (0.5, 0.0)])
        now = tuple(value + max(-0.04, min(0.04, want - value)) for value, want in zip(now, target, strict=True))
        sent = base.step(now)
        if sent is not None and tick % base.every == 0:
            stamp_s = at_s + choose.uniform(-0.004, 0.004)
            track.hear(Odometry(stamp_s, sent[0], b"", pose=sent[1]), at_s + choose.uniform(0.0, 0.01), True)
            following.measure(sent[0])
        following.tell(now, at_s)
        faults |= {track.fault(at_s), following.fault(at_s)} - {None}
    return faults


@pytest.mark.parametrize(
    "base",
    [
        {},
        {"lag_s": 0.4},
        {"gain": 0.5},
        {"gain": 1.3},
        {"slope": 0.4},
        {"dead": 0.08},
        {"noise": 0.008},
        {"hz": 10.0},
        {"hz": 5.0},
        {"delay": 10},
        {"lag_s": 0.3, "gain": 0.8, "dead": 0.05, "hz": 25.0},
    ],
    ids=str,
)
def test_bases_as_they_are_drive_for_minutes_without_a_fault(base):
    assert drive_for(Base(**base), 180.0) == set()


@settings(max_examples=15)
@given(
    st.floats(0.02, 0.4),
    st.floats(0.6, 1.2),
    st.floats(0.0, 0.08),
    st.sampled_from([50.0, 25.0, 10.0]),
    st.integers(0, 10**6),
)
def test_no_legal_odometry_is_ever_a_fault(lag_s, gain, dead, hz, seed):
    assert drive_for(Base(lag_s=lag_s, gain=gain, dead=dead, hz=hz, seed=seed), 60.0, seed) == set()


@settings(max_examples=40)
@given(st.sampled_from([0.0, 0.1, -1.0, 5.0]), st.floats(0.2, 0.5), st.integers(0, 10**6))
def test_a_wrong_scale_is_always_a_fault(factor, speed, seed):
    track, base = Track(LIMITS), Base(seed=seed)
    for tick in range(250):
        twist, pose = base.step((speed, 0.0))
        wrong = factor * twist[0], factor * twist[1]
        track.hear(Odometry(tick * 0.02, wrong, b"", pose=pose), tick * 0.02, True)
    assert track.fault(5.0) is not None


def test_a_yaw_that_goes_around_and_an_interrupted_topic_are_no_contradiction():
    track = Track(LIMITS)
    for tick in range(3000):
        angle = math.remainder(0.02 * tick, math.tau)
        pose = Pose(0.3 * math.sin(angle), -0.3 * math.cos(angle), angle)
        if tick % 300 > 80:
            track.hear(Odometry(tick * 0.02, (0.3, 1.0), b"", pose=pose), tick * 0.02, True)
        assert track.fault(tick * 0.02) is None


def test_a_pose_that_nobody_filled_in_is_none():
    assert pose_of(0, 0, 0, 0, 0, 0, 1) is None
    assert pose_of(0, 0, 0, 0, 0, 0, 0) is None
    assert pose_of(1, 0, 0, 0, 0, 0, 0) == Pose(1, 0, None)
    assert pose_of(1, 2, 0, 0, 0, 1, 0) == Pose(1, 2, math.pi)
    assert pose_of(1, 2, 0, math.nan, 0, 0, 1).yaw is None


def test_another_frame_of_pose_or_twist_is_a_fault():
    bench = Bench()
    bench.drive()
    bench.odometry = bench.odometry._replace(frames=("odom", "map"))
    bench.tick()
    assert told(bench).startswith("another frame_id: 'map', before 'base_link'; ")


def test_a_source_declared_absent_is_held_against_nothing():
    config = Bench().supervisor.robot
    absent = {**config.sources, "odom": replace(config.sources["odom"], present=False, max_age_ms=0.0)}
    bench = Bench(replace(config, sources=absent))
    bench.bend = scaled(0.0)
    bench.drive()
    bench.tick(300)
    assert bench.state == "RUN"
