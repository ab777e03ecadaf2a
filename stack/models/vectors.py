"""The test vectors of the reference policy, and other frames to choose int8 scales by, both from the simulator."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from stack.engine.observing import Observation
from stack.models.commands import COMMANDS
from stack.models.package import IMAGE_SIZE, GoldenObservation
from stack.models.pilot import Pilot, seen
from stack.sim.scene import Pillar, Scene, ScenePose, build
from stack.sim.senses import Sensed, Senses
from stack.sim.world import World

_CALIBRATION = 24


def goldens(pilot: Pilot) -> list[GoldenObservation]:
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
    for name, sensed, text in cases:
        observation = seen(sensed, text)
        found.append(GoldenObservation(name, observation, pilot.run(observation)))
    return found


def calibration() -> list[Observation]:
    """Frames of other rooms, and black, grey and white ones with nothing or an unknown around: scales must reach that
    far.
    """
    rng = np.random.default_rng(9)
    cases = [Senses(100 + number).observe(World(build("random", rng), rng)) for number in range(_CALIBRATION)]
    for level, metres in product((0, 128, 255), (np.inf, np.nan)):
        flat = np.full((240, 320, 3), level, np.uint8), np.full(360, metres, np.float32)
        cases.append(Sensed(*flat))
    return [seen(_small(sensed), COMMANDS[number % len(COMMANDS)]) for number, sensed in enumerate(cases)]


def _small(sensed: Sensed) -> Sensed:
    """The same scene in a frame of the network's size, which is kept as it is: a ninth of the bytes."""
    return sensed._replace(rgb=cv2.resize(sensed.rgb, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA))
