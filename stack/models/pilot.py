"""A packaged model as a callable policy in the simulator, through the same code as on a robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from stack.engine.lidar import lidar_sectors
from stack.engine.observing import Frame, LaserScan, Observation, Steps
from stack.engine.packed import packed
from stack.models.package import CAMERA, MAX_RANGE_M, SECTORS
from stack.sim.senses import ANGLE_INCREMENT, ANGLE_MIN, RANGE_MAX_M, RANGE_MIN_M, Sensed


def encode(tokenizer: Tokenizer, text: str, length: int) -> NDArray[np.int64]:
    """Token numbers int64 [1, length], cut or padded with 0."""
    numbers = tokenizer.encode(text).ids[:length]
    return np.array([numbers + [0] * (length - len(numbers))], dtype=np.int64)


def sectors(ranges: NDArray[np.float32], count: int = SECTORS, limit_m: float = MAX_RANGE_M) -> NDArray[np.float32]:
    """The lidar input [1, count] for the simulated scanner's ranges."""
    return lidar_sectors(ranges, ANGLE_MIN, ANGLE_INCREMENT, RANGE_MIN_M, RANGE_MAX_M, count, limit_m)[0]


def seen(sensed: Sensed, text: str, camera: str | None = CAMERA) -> Observation:
    """What the simulated robot senses, and a command. `camera`: what the model's contract calls the robot's camera."""
    frames = {} if camera is None else {camera: (Frame(sensed.rgb),)}
    scan = LaserScan(0, ANGLE_MIN, ANGLE_INCREMENT, RANGE_MIN_M, RANGE_MAX_M, sensed.ranges)
    return Observation(frames=frames, scan=scan, text=text)


def camera_of(contract: Contract) -> str | None:
    """What the contract calls the simulated robot's one camera, if the model looks at all.

    Raises IncompatibleError for a model that wants what the simulated robot does not have.
    """
    wanted = contract.observation
    cameras = list(wanted.cameras)
    missing = {
        f"{len(cameras)} cameras": len(cameras) > 1,
        "past frames": any(len(camera.frames) > 1 for camera in wanted.cameras.values()),
        "a goal image": wanted.goal is not None,
        "a state": wanted.state is not None,
    }
    if any(missing.values()):
        named = " and ".join(name for name, wants in missing.items() if wants)
        raise IncompatibleError(
            f"this model wants {named}, and the simulated robot has one camera without memory, a laser scanner and "
            "words; evaluate it in a simulator of its own robot"
        )
    return cameras[0] if cameras else None


class Pilot:
    """Call it with what is sensed and a command to get real actions [steps, 2] in m/s and rad/s.

    The model may leave out camera, lidar or words. Raises IncompatibleError as `camera_of` does.
    """

    def __init__(self, folder: Path) -> None:
        self.contract = Contract.load(folder)
        self.camera = camera_of(self.contract)
        self.inference = packed(folder, self.contract)

    def __call__(self, sensed: Sensed, text: str) -> Steps:
        return self.run(seen(sensed, text, self.camera))

    def run(self, observation: Observation) -> Steps:
        """Real actions [steps, 2] of an observation."""
        return self.inference(observation).actions
