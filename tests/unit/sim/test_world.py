from __future__ import annotations

import math

import numpy as np
import pytest

from model_registry.core.errors import UsageError
from stack.sim.scenario import advance
from stack.sim.scene import COLORS, Pillar, Scene, ScenePose, build, color_in, move_target, polar, way_is_free
from stack.sim.world import MAX_LINEAR_MPS, World


def make(scene: Scene | None = None, respawn: str | None = None) -> World:
    return World(scene or Scene(ScenePose(0.0, 0.0, 0.0), ()), np.random.default_rng(1), respawn)


def run(world: World, linear: float, angular: float, seconds: float) -> None:
    for _ in range(round(seconds * 20)):
        advance(world, linear, angular)


def test_robot_drives_the_commanded_speed_after_its_lag() -> None:
    world = make()
    run(world, 0.4, 0.0, 2.0)
    assert world.linear == pytest.approx(0.4, abs=0.01)
    assert 0.7 < world.pose.x < 0.8
    assert world.pose.y == pytest.approx(0.0)


def test_positive_angular_speed_turns_left() -> None:
    world = make()
    run(world, 0.25, 0.6, 2.0)
    assert 0.9 < world.pose.theta < 1.3
    assert world.pose.y > 0.1


def test_base_brakes_by_itself_when_commands_cease() -> None:
    world = make()
    run(world, 0.4, 0.3, 1.0)
    for _ in range(8):
        world.step(0.02)
    assert world.linear > 0.3
    for _ in range(60):
        world.step(0.02)
    assert abs(world.linear) < 1e-3
    assert abs(world.angular) < 1e-3


def test_speeds_are_limited_by_the_base() -> None:
    world = make()
    run(world, 9.0, 0.0, 1.0)
    assert world.linear <= MAX_LINEAR_MPS


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_command_that_is_not_finite_counts_as_zero(value: float) -> None:
    world = make()
    run(world, value, 0.0, 1.0)
    assert world.linear == 0.0


@pytest.mark.parametrize("pillars", [(), (Pillar("red", 2.0, 0.0),)])
def test_contact_stops_the_robot_is_counted_once_and_can_be_left(pillars: tuple[Pillar, ...]) -> None:
    world = make(Scene(ScenePose(1.0, 0.0, 0.0), pillars))
    run(world, 0.5, 0.0, 8.0)
    assert world.in_contact
    assert world.contacts == 1
    assert world.linear == 0.0
    before = world.pose.x
    run(world, -0.3, 0.0, 1.0)
    assert not world.in_contact
    assert world.pose.x < before - 0.1


def test_battery_drains_slowly_and_faster_when_driving() -> None:
    standing, driving = make(), make()
    run(standing, 0.0, 0.0, 5.0)
    run(driving, 0.4, 0.5, 5.0)
    assert 0.9 < driving.battery < standing.battery < 0.95


def test_same_seed_builds_the_same_layout_and_another_seed_another() -> None:
    first, again, other = (build("random", np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_random_layout_keeps_clearances(seed: int) -> None:
    scene = build("random", np.random.default_rng(seed))
    assert tuple(pillar.color for pillar in scene.pillars) == COLORS
    for pillar in scene.pillars:
        assert max(abs(pillar.x), abs(pillar.y)) <= 4.0 - 1.3
        assert polar(scene.pose, pillar)[0] >= 1.0
        assert all(math.hypot(pillar.x - p.x, pillar.y - p.y) >= 1.3 for p in scene.pillars if p is not pillar)


def test_room_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="no free place"):
        build("random", np.random.default_rng(1), (3.0, 3.0))


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(UsageError, match="not known"):
        build("maze", np.random.default_rng(1))


@pytest.mark.parametrize("seed", range(10))
def test_moved_target_is_far_and_has_a_free_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = move_target(build("random", rng), "blue", rng)
    target = scene.pillar("blue")
    assert target is not None
    assert polar(scene.pose, target)[0] >= 1.0
    others = {pillar.color for pillar in scene.pillars}
    assert others == set(COLORS)
    if polar(scene.pose, target)[0] >= 2.5:
        assert way_is_free(scene, target)


def test_target_moves_away_when_the_robot_comes_near_it() -> None:
    world = make(Scene(ScenePose(0.0, 0.0, 0.0), (Pillar("red", 2.0, 0.0), Pillar("blue", -2.0, 1.0))), respawn="red")
    run(world, 0.4, 0.0, 4.0)
    target = world.scene.pillar("red")
    assert world.respawns == 1
    assert target is not None
    assert (target.x, target.y) != (2.0, 0.0)
    assert world.contacts == 0


def test_target_stays_without_respawn() -> None:
    world = make(Scene(ScenePose(0.0, 0.0, 0.0), (Pillar("red", 2.0, 0.0),)))
    run(world, 0.4, 0.0, 4.0)
    assert world.scene.pillars == (Pillar("red", 2.0, 0.0),)


@pytest.mark.parametrize(("text", "color"), [("Go to the RED pillar", "red"), ("blue", "blue"), ("turn left", None)])
def test_colour_is_read_from_the_command(text: str, color: str | None) -> None:
    assert color_in(text) == color
