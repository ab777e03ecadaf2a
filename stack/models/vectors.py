"""The test vectors of the reference policy, and other frames to choose int8 scales by, both from the simulator."""

from __future__ import annotations

from itertools import product

import numpy as np

from stack.models.commands import COMMANDS
from stack.models.package import GoldenTensors, Vectors
from stack.models.pilot import Pilot
from stack.sim.scene import Pillar, Scene, ScenePose, build
from stack.sim.senses import Sensed, Senses
from stack.sim.world import World

_CALIBRATION = 24


def goldens(pilot: Pilot) -> list[GoldenTensors]:
    """Frames of ordinary driving, of standing, and extremes that only have to give what they gave here."""
    rng = np.random.default_rng(5)
    random = World(build("random", rng), rng)
    front = World(build("front", rng), rng)
    aside = World(Scene(ScenePose(-1.0, 0.0, 0.0), (Pillar("green", 1.0, 1.2), Pillar("blue", 1.2, -1.0))), rng)
    senses = Senses(7)
    black = Sensed(np.zeros((240, 320, 3), np.uint8), np.full(360, np.inf, np.float32))
    white = Sensed(np.full((240, 320, 3), 255, np.uint8), np.full(360, np.inf, np.float32))
    blind = Sensed(senses.observe(front).rgb, np.full(360, np.nan, np.float32))
    cases = (
        ("ahead", senses.observe(front), "go to the red pillar"),
        ("aside", senses.observe(aside), "go to the green pillar"),
        ("unseen", senses.observe(aside), "go to the yellow pillar"),
        ("left", senses.observe(random), "turn left"),
        ("right", senses.observe(random), "turn right"),
        ("forward", senses.observe(front), "go forward"),
        ("stop", senses.observe(front), "stop"),
        ("halt", senses.observe(random), "halt"),
        ("nothing", senses.observe(random), ""),
        ("black", black, "go to the blue pillar"),
        ("white", white, "go to the blue pillar"),
        ("blind", blind, "go to the red pillar"),
    )
    found = []
    for name, observation, text in cases:
        image, tokens, lidar = pilot.inputs(observation, text)
        found.append(GoldenTensors(name, image.copy(), tokens, lidar, pilot.run(image, tokens, lidar)))
    return found


def calibration(pilot: Pilot) -> list[Vectors]:
    """Frames of other rooms, and black, grey and white ones with nothing or an unknown around: scales must reach that
    far.
    """
    rng = np.random.default_rng(9)
    found: list[Vectors] = []
    cases = [Senses(100 + number).observe(World(build("random", rng), rng)) for number in range(_CALIBRATION)]
    for level, metres in product((0, 128, 255), (np.inf, np.nan)):
        flat = np.full((240, 320, 3), level, np.uint8), np.full(360, metres, np.float32)
        cases.append(Sensed(*flat))
    for number, seen in enumerate(cases):
        image, tokens, lidar = pilot.inputs(seen, COMMANDS[number % len(COMMANDS)])
        found.append({"image": image.copy(), "tokens": tokens, "lidar": lidar})
    return found
