"""Goldens of a LeRobot policy: raw observations, and the actions in units that LeRobot itself computes from them.

The way is LeRobot's from end to end: its preparation of frames, its preprocessor, its policy, its postprocessor. So a
golden also proves normalisation, letterbox and tokens of whoever reproduces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lerobot.policies.utils import populate_queues, prepare_observation_for_inference
from numpy.typing import NDArray

from stack.importers.lerobot.directory import ACTION, STATE
from stack.importers.lerobot.loading import LoadedPolicy

IMAGES = "observation.images"
_CPU = torch.device("cpu")
_CELLS = 12


@dataclass(frozen=True)
class RawObservation:
    """What a robot sees, before anything is prepared.

    `frames`: for each camera uint8 [frames, height, width, 3] in RGB, oldest first. `state`: float32 [frames, width] in
    its units. `noise`: float32, for policies that begin with noise.
    """

    frames: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    text: str = ""
    noise: NDArray[np.float32] | None = field(default=None)


def noise_shape(policy: LoadedPolicy) -> tuple[int, ...] | None:
    """Of what a chunk begins with; None for a policy without noise."""
    config = policy.config
    if policy.directory.type == "smolvla":
        return (1, int(config.chunk_size), int(config.max_action_dim))
    if policy.directory.type == "diffusion":
        return (1, int(config.horizon), policy.dims)
    return None


def frames_seen(policy: LoadedPolicy) -> int:
    """How many frames one inference reads, the newest and those before it."""
    return int(policy.config.n_obs_steps) if policy.directory.type == "diffusion" else 1


def observations(policy: LoadedPolicy, count: int, seed: int, texts: tuple[str, ...] = ("",)) -> list[RawObservation]:
    """Made-up observations, the same for the same seed: patches of colour, and states inside of the statistics."""
    generator = np.random.default_rng(seed)
    frames = frames_seen(policy)
    low, high = _state_range(policy)
    shape = noise_shape(policy)
    made = []
    for number in range(count):
        pictures = {name: _pictures(generator, frames, policy.image_shape(name)) for name in policy.directory.cameras}
        state = generator.uniform(low, high, (frames, len(low))).astype(np.float32)
        noise = None if shape is None else generator.standard_normal(shape).astype(np.float32)
        made.append(RawObservation(pictures, state, texts[number % len(texts)], noise))
    return made


def actions(policy: LoadedPolicy, seen: RawObservation) -> NDArray[np.float32]:
    """LeRobot's own chunk for an observation: float32 [rows, dims] in units."""
    lerobot = policy.policy
    lerobot.reset()
    batch: dict[str, Any] = {}
    for number in range(len(seen.state)):
        batch = prepared(policy, seen, number)
        if policy.directory.type == "diffusion":
            batch[IMAGES] = torch.stack([batch[key] for key in policy.config.image_features], dim=-4)
            lerobot._queues = populate_queues(lerobot._queues, batch)
    given = {} if seen.noise is None else {"noise": torch.from_numpy(seen.noise.copy())}
    chunk = policy.postprocessor(lerobot.predict_action_chunk(batch, **given))
    result: NDArray[np.float32] = chunk[0].to(torch.float32).numpy()
    return result


def prepared(policy: LoadedPolicy, seen: RawObservation, number: int) -> dict[str, Any]:
    """One frame of an observation through LeRobot's own preparation and preprocessor."""
    directory = policy.directory
    features = {directory.cameras[name]: pictures[number] for name, pictures in seen.frames.items()}
    features[STATE] = seen.state[number]
    raw = {directory.renamed.get(key, key): np.ascontiguousarray(array) for key, array in features.items()}
    batch: dict[str, Any] = policy.preprocessor(prepare_observation_for_inference(raw, _CPU, seen.text))
    batch.pop(ACTION, None)  # a place that is empty when nobody trains
    return batch


def _pictures(generator: np.random.Generator, frames: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """uint8 [frames, height, width, 3]: a few patches of colour, since pixels without any pattern say little."""
    _, height, width = shape
    cells = generator.integers(0, 256, (frames, _CELLS, _CELLS, 3), dtype=np.uint8)
    rows = np.arange(height) * _CELLS // height
    columns = np.arange(width) * _CELLS // width
    return cells[:, rows][:, :, columns]


def _state_range(policy: LoadedPolicy) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest state to try, from whatever statistics the normalizer has; -1 and 1 without any."""
    normalizer = next((step for step in policy.preprocessor.steps if hasattr(step, "stats")), None)
    found = {} if normalizer is None else normalizer.stats.get(STATE, {})
    known = {name: np.asarray(numbers, np.float64).reshape(-1) for name, numbers in found.items()}
    for low, high in (("q01", "q99"), ("min", "max")):
        if low in known and high in known:
            return known[low], known[high]
    if "mean" in known and "std" in known:
        return known["mean"] - 2 * known["std"], known["mean"] + 2 * known["std"]
    return -np.ones(policy.state_width), np.ones(policy.state_width)
