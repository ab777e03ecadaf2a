from __future__ import annotations

import math

import numpy as np
import pytest

from stack.models.commands import COMMANDS
from stack.models.dataset import collect
from stack.models.expert import STEPS, Style, chunk, in_view
from stack.models.package import IMAGE_SIZE, SECTORS
from stack.sim.scenario import drive
from stack.sim.scene import COLORS, Pillar, Scene, ScenePose, build
from stack.sim.senses import Sensed
from stack.sim.world import World

STYLE = Style()
RED = "go to the red pillar"


def act(scene: Scene, command: str) -> np.ndarray:
    return chunk(scene, command, STYLE)


def facing(x: float, y: float, *others: Pillar) -> Scene:
    return Scene(ScenePose(0.0, 0.0, 0.0), (Pillar("red", x, y), *others))


@pytest.mark.parametrize("seed", range(8))
def test_teacher_reaches_the_pillar_without_contact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(build("random", rng), rng)

    def teacher(_: Sensed, text: str) -> np.ndarray:
        return chunk(world.scene, text, STYLE)

    outcome = drive(world, teacher, f"go to the {COLORS[seed % 4]} pillar", 40.0)
    assert outcome.arrived
    assert outcome.contacts == 0


def test_teacher_turns_towards_the_pillar_it_sees() -> None:
    assert act(facing(2.0, 1.0), RED)[0, 1] > 0.3
    assert act(facing(2.0, -1.0), RED)[0, 1] < -0.3


def test_teacher_cruises_when_aligned_and_stands_before_the_pillar() -> None:
    assert act(facing(2.5, 0.0), RED)[:, 0].min() >= 0.25
    assert np.abs(act(facing(0.7, 0.0), RED)).max() < 0.02


def test_teacher_searches_to_the_left_for_a_pillar_out_of_view() -> None:
    for scene in (facing(-2.0, 0.5), facing(-2.0, -0.5), facing(3.0, 0.0, Pillar("blue", 1.5, 0.0))):
        assert act(scene, RED)[:, 1].min() > 0.5


def test_pillar_behind_another_is_not_in_view_and_beside_it_is() -> None:
    target = Pillar("red", 3.0, 0.0)
    assert not in_view(facing(3.0, 0.0, Pillar("blue", 1.5, 0.0)), target)
    assert in_view(facing(3.0, 0.0, Pillar("blue", 1.5, 0.3)), target)
    assert in_view(facing(3.0, 0.0, Pillar("blue", 3.5, 0.0)), target)


def test_teacher_steers_around_a_pillar_in_the_way() -> None:
    assert act(facing(3.0, 0.0, Pillar("blue", 1.0, 0.2)), RED)[0, 1] < -0.2


@pytest.mark.parametrize(("command", "sign"), [("turn left", 1), ("turn right", -1)])
def test_turns_are_steady_circles(command: str, sign: int) -> None:
    actions = act(facing(1.0, 0.0), command)
    assert (actions[:, 0] == 0.25).all()
    assert actions[:, 1] == pytest.approx(np.full(STEPS, sign * 0.6))


def test_forward_slows_down_before_obstacles() -> None:
    assert act(Scene(ScenePose(0.0, 0.0, 0.0), ()), "go forward")[0] == pytest.approx((0.4, 0.0))
    assert act(facing(0.7, 0.0), "go forward")[0, 0] == 0.0


@pytest.mark.parametrize("command", ["stop", ""])
def test_stop_and_nothing_understood_are_zero(command: str) -> None:
    assert not act(facing(2.0, 1.0), command).any()


def test_frames_are_labelled_for_every_command() -> None:
    frames = collect(50, np.random.default_rng(1), STYLE, None, robots=10)
    assert frames.images.shape == (50, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert frames.lidars.shape == (50, SECTORS)
    assert frames.actions.shape == (50, len(COMMANDS), STEPS, 2)
    assert np.isfinite(frames.actions).all()
    assert np.abs(frames.actions[..., 0]).max() <= STYLE.cruise_mps
    assert np.abs(frames.actions[..., 1]).max() <= STYLE.turn_limit
    assert math.isclose(float(frames.lidars.max()), 1.0, abs_tol=1e-6)


def test_frames_are_the_same_for_the_same_seed() -> None:
    first, second = (collect(20, np.random.default_rng(7), STYLE, None, robots=10) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.actions, second.actions)
