"""What is remembered of things that a scan has shown and the next one does not, and when it is forgotten."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from model_registry.core.robot import Footprint, Lidar
from stack.supervisor.obstacles import Obstacles
from tests.fakes.supervision import BODY, around

FORWARD = (0.3, 0.0)
TICK_S = 0.02


class Watched:
    """A round body of 0.2 m that looks at poles (x, y, radius in m) and moves as it is told."""

    def __init__(self, beams=360, range_min=0.25, field=math.tau, near=math.nan, body=BODY, margin_m=0.1):
        self.obstacles = Obstacles(body, Lidar(min_valid=0.1), margin_m)
        self.poles = []
        self.beams, self.range_min, self.field, self.near = beams, range_min, field, near
        self.x = self.y = self.heading = self.now_s = 0.0
        self.obstacles.move((0.0, 0.0), 0.0)

    def look(self):
        """A scan of where it is now; what is wrong with it."""
        step = self.field / (self.beams if self.field == math.tau else self.beams - 1)
        angles = -self.field / 2 + step * np.arange(self.beams)
        cos, sin = np.cos(angles + self.heading), np.sin(angles + self.heading)
        ranges = np.full(self.beams, 5.0)
        for x, y, radius in self.poles:
            along = (x - self.x) * cos + (y - self.y) * sin
            aside = (y - self.y) * cos - (x - self.x) * sin
            met = (along > 0) & (np.abs(aside) < radius)
            echo = along - np.sqrt(np.maximum(radius**2 - aside**2, 0.0))
            ranges = np.where(met, np.minimum(ranges, echo), ranges)
        ranges[ranges < self.range_min] = self.near
        scan = replace(
            around(5.0),
            angle_min=-self.field / 2,
            angle_increment=step,
            range_min=self.range_min,
            ranges=ranges.astype(np.float32),
        )
        return self.obstacles.see(scan, self.now_s)

    def go(self, linear, angular=0.0, seconds=0.1, looks=True):
        """Move, and look after every tenth of a second."""
        for number in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            middle = self.heading + angular * TICK_S / 2
            self.x += linear * TICK_S * math.cos(middle)
            self.y += linear * TICK_S * math.sin(middle)
            self.heading += angular * TICK_S
            self.obstacles.move((linear, angular), self.now_s)
            if looks and number % 5 == 4:
                assert self.look() is None

    @property
    def free_m(self):
        return self.obstacles.free_m(FORWARD, 1.0)


@pytest.mark.parametrize("near", [math.nan, 0.0, math.inf])
@pytest.mark.parametrize("radius", [0.005, 0.01, 0.05])
def test_a_thin_thing_that_was_seen_and_is_gone_inside_the_shortest_range_is_still_there(near, radius):
    body = Watched(near=near)
    body.poles = [(0.6 + radius, 0.0, radius)]
    body.look()
    body.go(0.5, seconds=0.7)  # the pole is 0.25 m from the scanner, and then nearer
    body.go(0.1, seconds=0.2)
    assert body.free_m == pytest.approx(0.6 - body.x - 0.22, abs=0.015)
    body.go(0.0, seconds=20.0)
    assert body.free_m == pytest.approx(0.6 - body.x - 0.22, abs=0.015), "however long the robot stands there"


def test_it_is_forgotten_when_its_place_is_seen_again_and_it_is_not_there():
    body = Watched()
    body.poles = [(0.605, 0.0, 0.005)]
    body.look()
    body.go(0.5, seconds=0.74)
    body.poles = []
    body.go(0.0, seconds=1.0)
    assert body.free_m < 0.1, "nobody can see there"
    body.go(-0.5, seconds=0.6)
    assert body.free_m == math.inf


@pytest.mark.parametrize("beams", [90, 360, 1440])
def test_what_walks_away_in_plain_view_is_forgotten_at_once(beams):
    body = Watched(beams)
    body.poles = [(0.5, 0.0, 0.06)]
    body.look()
    assert body.free_m < 0.3
    body.poles = []
    body.go(0.0, seconds=0.2)
    assert body.free_m == math.inf


@pytest.mark.parametrize("beams", [90, 180, 360])
def test_a_thing_that_only_one_beam_has_met_is_forgotten_when_that_beam_goes_through_its_place(beams):
    body = Watched(beams)
    body.poles = [(0.6, 0.0, 0.004)]
    body.look()
    assert body.free_m < 0.4
    body.poles = []
    body.go(0.0, seconds=0.5)
    assert body.free_m == math.inf


def test_a_thin_thing_between_two_beams_is_still_there():
    body = Watched(90)
    body.poles = [(0.8, 0.0, 0.005)]
    body.look()
    body.go(0.0, math.radians(20.0), seconds=0.1)  # by half the angle between two beams
    body.go(0.0, seconds=5.0)
    assert body.obstacles.nearest_m == pytest.approx(0.795, abs=0.01)


def test_a_thing_in_a_beam_that_cannot_be_read_is_still_there():
    body = Watched()
    body.poles = [(0.8, 0.0, 0.01)]
    body.look()
    seen_m = body.free_m
    ranges = np.full(360, 5.0, dtype=np.float32)
    ranges[179:182] = math.nan
    body.obstacles.see(replace(around(5.0), range_min=0.25, ranges=ranges), body.now_s)
    assert body.free_m == pytest.approx(seen_m, abs=0.02)


def test_a_thing_beside_the_field_of_view_is_still_there_when_the_robot_has_turned():
    body = Watched(beams=181, field=math.pi, range_min=0.05)
    body.poles = [(0.0, 0.5, 0.02)]
    body.look()
    body.go(0.0, -1.0, seconds=0.5)  # the pole is behind the left shoulder now
    assert body.obstacles.nearest_m == pytest.approx(0.48, abs=0.01)


def test_what_is_remembered_turns_and_goes_with_the_robots_own_motion():
    body = Watched(range_min=0.3)
    body.poles = [(0.45, 0.0, 0.01)]
    body.look()
    body.go(0.5, seconds=0.3)
    body.go(0.0, math.pi / 2, seconds=1.0)
    assert body.free_m == math.inf, "it is at the right hand now"
    body.go(0.0, -math.pi / 2, seconds=1.0)
    assert body.free_m == pytest.approx(0.44 - 0.15 - 0.22, abs=0.015)


def test_between_two_scans_everything_comes_nearer_as_the_robot_goes():
    body = Watched()
    body.poles = [(1.0, 0.0, 0.05)]
    body.look()
    before_m = body.free_m
    body.go(0.5, seconds=0.1, looks=False)
    assert body.free_m == pytest.approx(before_m - 0.05, abs=0.01)


def test_a_late_scan_is_taken_for_what_it_was_and_not_for_now():
    body = Watched()
    body.poles = [(1.0, 0.0, 0.05)]
    taken_s = body.now_s
    ranges = np.full(360, 5.0, dtype=np.float32)
    ranges[178:183] = 0.95
    body.go(0.5, seconds=0.2, looks=False)
    body.obstacles.see(replace(around(5.0), range_min=0.25, ranges=ranges), taken_s)
    assert body.free_m == pytest.approx(0.95 - 0.1 - 0.22, abs=0.01)


@pytest.mark.parametrize(
    ("range_min", "body", "lidar", "margin_m", "refused"),
    [
        (0.30, BODY, Lidar(), 0.1, False),
        (0.35, BODY, Lidar(), 0.1, True),
        (0.35, BODY, Lidar(), 0.15, False),
        (0.25, BODY, Lidar(x=0.15), 0.1, True),
        (0.45, Footprint(0.5, 0.5, 0.4, round=False), Lidar(), 0.1, False),
    ],
)
def test_a_scanner_that_sees_nothing_beyond_body_and_margin_is_refused(range_min, body, lidar, margin_m, refused):
    wrong = Obstacles(body, lidar, margin_m).see(replace(around(5.0), range_min=range_min))
    assert (wrong is not None) == refused
    if wrong is not None:
        assert f"range_min = {range_min:.2f} m" in wrong
        assert f"safety.margin is {margin_m:.2f} m" in wrong


def test_a_memory_that_grows_old_stays_small():
    body = Watched(beams=90)
    chance = np.random.default_rng(3)
    for _ in range(300):
        body.poles = [(*chance.uniform(-1.0, 1.0, 2), 0.01) for _ in range(20)]
        body.poles = [pole for pole in body.poles if math.hypot(pole[0], pole[1]) > 0.32]
        body.go(0.0, 0.5)
    assert body.obstacles.free_m(FORWARD, 1.0) >= 0.0
    body.poles = []
    body.go(0.0, 0.5, seconds=30.0)
    assert body.free_m == math.inf, "a robot that looks around forgets what is not there"
