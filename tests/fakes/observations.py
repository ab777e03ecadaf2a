"""What a slot is given in tests without ROS: serialized frames, scans and commands, and a backend of fixed answers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from model_registry.core.contract.observation import Observations
from model_registry.core.documents import Reader
from stack.engine.backends.null import Null
from stack.engine.observing import Tensor
from stack.engine.wiring import Wired
from stack.policy.inference import TimedInference
from stack.policy.profile import PROFILES
from stack.policy.sensing import Listening, SourceWiring
from stack.policy.slot import Slot
from tests.fakes.cdr import Writer

SECOND = 1_000_000_000
_NOISE = count()


class Constant(Null):
    """Runs the one graph of a model: gives `value` throughout after `seconds`.

    It keeps what it was `given`, and copies of it as they were `seen`.
    """

    value, seconds = 0.0, 0.0
    graph: Graph

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.given = dict(inputs)
        self.seen = {name: np.copy(value) for name, value in inputs.items()}
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pass
        return {item.name: np.full(item.shape, self.value, item.dtype) for item in self.graph.outputs}


def timed(folder: Path, backend: Null, yaw: float = 0.0) -> TimedInference:
    """The inference of a model folder whose only graph runs on `backend`."""
    contract = Contract.load(folder)
    [graph] = contract.graphs
    if isinstance(backend, Constant):
        backend.graph = graph
    return TimedInference(folder, contract, Wired(contract, {graph.id: backend}), yaw)


def make_slot(
    folder: Path,
    backend: Null,
    profile: str = "resource_optimized",
    small: Path | None = None,
    wiring: SourceWiring | None = None,
    small_backend: Constant | None = None,
    **settings: Any,
) -> Slot:
    """A slot of a model folder that runs on `backend`; `settings` replace those of the profile."""
    full = timed(folder, backend)
    smaller = None if small is None else timed(small, small_backend or Constant())
    return Slot(full.contract, replace(PROFILES[profile], **settings), full, smaller, wiring=wiring)


def wants(folder: Path, observation: Mapping[str, Any]) -> Path:
    """Make a model folder's contract want something else; its one graph reads each of it under its own name."""
    document = json.loads((folder / "vla.json").read_bytes())
    document["observation"] = dict(observation)
    sources = Observations.read(Reader(dict(observation), "observation")).tensors(len(document["action"]["dims"]))
    [graph] = document["graphs"]
    graph["inputs"] = {name: name for name in sources}
    (folder / "vla.json").write_text(json.dumps(document))
    return folder


def joints(stamp_s: float, **positions: float) -> bytes:
    """A message of joints with positions in rad, and as velocities and efforts ten and a hundred times as much."""
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("arm").put("I", len(positions))
    for name in positions:
        writer.text(name)
    for times in (1.0, 10.0, 100.0):
        writer.put("I", len(positions)).put("d" * len(positions), *(times * value for value in positions.values()))
    return writer.bytes()


def odometry(stamp_s: float, linear_x: float, angular_z: float, linear_y: float = 0.0) -> bytes:
    """A message of odometry that says how fast the base moves, in m/s and rad/s."""
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("odom").text("base")
    writer.put("d" * 43, *[0.0] * 43)
    return writer.put("d" * 6, linear_x, linear_y, 0.0, 0.0, 0.0, angular_z).put("d" * 36, *[0.0] * 36).bytes()


def without_stamps(folder: Path, *sources: str) -> SourceWiring:
    """A robot's sources, of which the stamps of some are not looked at."""
    settings = {name: Listening(stamps=False) for name in sources}
    return replace(SourceWiring.plain(Contract.load(folder)), settings=settings)


def frame(stamp_s: float, encoding: str = "rgb8", noise: int | None = None, size: tuple[int, int] = (32, 24)) -> bytes:
    """A frame that differs from the last one, or is `noise` throughout."""
    width, height = size
    value = next(_NOISE) % 256 if noise is None else noise
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("camera")
    writer.put("II", height, width).text(encoding)
    writer.put("B", 0).put("I", 3 * width).put("I", 3 * width * height)
    writer.body += bytes([value]) * (3 * width * height)
    return writer.bytes()


def beams(stamp_s: float, metres: float = 2.0) -> bytes:
    """A full turn of 360 beams."""
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("laser")
    writer.put("fffffff", -3.14, 3.14, 0.0175, 0.0, 0.0, 0.05, 12.0).put("I", 360).put("f" * 360, *[metres] * 360)
    return writer.put("I", 0).bytes()


def command(text: str, remaining_s: float | None = None) -> str:
    return json.dumps({"text": text, "seq": 1, "remaining_s": remaining_s})


def feed(slot: Slot, now: float) -> None:
    """Camera and scan that arrive at `now`; ROS time is 1000 s ahead."""
    slot.on_camera("front", frame(1000 + now), now, ros(now))
    slot.on_scan(beams(1000 + now), now, ros(now))


def ros(now: float) -> int:
    return int((1000 + now) * SECOND)


def drive(slot: Slot, now: float = 10.0) -> None:
    slot.on_command(command("go to the red pillar"), now)
    feed(slot, now)
    assert slot.infer(now, ros(now))
