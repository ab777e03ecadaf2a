"""Model folders of the seed's networks: exported, compared with ONNX Runtime, with goldens.

Not trained, and slow on purpose.

`resource_optimized` has a graph of its own for language, whose features are kept for the last commands, and carries the
same weights once more for frames of half the size, as its smaller variant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model_registry.core.errors import HomeportError
from stack.engine.observing import Observation, Steps
from stack.models import package
from stack.models.commands import COMMANDS, tokenizer_json
from stack.models.export import INPUTS, LARGEST_DIFFERENCE, graph
from stack.models.package import LANGUAGE, Form, GoldenObservation
from stack.models.pilot import Pilot, seen
from stack.models.seed import Part, SeedVLA, network
from stack.sim.senses import Sensed

STEPS = 8
SMALL = "small"
SMALL_IMAGE = 112
MEAN, STD = (0.0, 0.0), (0.1, 0.1)  # m/s and rad/s for an output of 0 and 1
_GOLDENS = 3
_CALIBRATION = 4
_README = """\
# {name} {version}

The network of the seed's profile `{profile}` with random weights: for benches and for trying backends. \
It was never trained; let it move nothing.
"""


def write(profile: str, version: str, folder: Path, seed: int = 0) -> None:
    """Write a model folder. Raises HomeportError when ONNX Runtime and torch disagree."""
    variants = {SMALL: SMALL_IMAGE} if profile == "resource_optimized" else {}
    for name, image in variants.items():
        _write(network(profile, STEPS, seed, image), profile, version, folder / name, [])
    _write(network(profile, STEPS, seed), profile, version, folder, list(variants))


def _write(made: SeedVLA, profile: str, version: str, folder: Path, variants: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"homeport/seed-{profile.replace('_', '-')}"
    _export(made, folder)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(MEAN, STD))
    (folder / "README.md").write_text(_README.format(name=name, version=version, profile=profile))
    shape = made.shape
    advisory = "safety" if made.shape.advisory else None
    language = shape.embedding if shape.split else 0
    form = Form(name, made.image, "linear", shape.sectors, shape.tokens, advisory, language)
    document = package.contract(version, STEPS, form)
    if variants:
        document["variants"] = variants
    package.finish(folder, document, [])
    goldens = [_golden(made, folder, number) for number in range(_GOLDENS)]
    package.finish(folder, document, goldens, [observation(100 + number) for number in range(_CALIBRATION)])


def _export(made: SeedVLA, folder: Path) -> None:
    image, tokens, lidar = made.examples()
    if not made.shape.split:
        graph(made, (image, tokens, lidar), folder / package.GRAPH)
        return
    graph(Part(made, "understand"), (tokens,), folder / package.LANGUAGE_GRAPH, INPUTS[1:2], LANGUAGE)
    with torch.no_grad():
        inputs = image, made.understand(tokens), lidar
    graph(Part(made, "act"), inputs, folder / package.GRAPH, ("image", LANGUAGE, "lidar"))


def observation(seed: int) -> Observation:
    """A random frame, scan and command: these networks were never trained, so any will do."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    ranges = rng.uniform(0.1, 5.0, 360).astype(np.float32)
    text = COMMANDS[int(rng.integers(len(COMMANDS)))]
    return seen(Sensed(pixels, ranges), text)


def _golden(made: SeedVLA, folder: Path, number: int) -> GoldenObservation:
    """What ONNX Runtime makes of an observation. Raises HomeportError when the whole network gives other in torch."""
    pilot = Pilot(folder)
    what = observation(number)
    actions = pilot.run(what)
    compare(made, pilot, what, actions)
    return GoldenObservation(f"random{number}", what, actions)


def compare(made: SeedVLA, pilot: Pilot, what: Observation, actions: Steps) -> None:
    """Raises HomeportError when `actions` are not what the whole network gives in torch."""
    preparation = pilot.inference.preparation
    tensors = preparation(what)
    given = (torch.from_numpy(tensors[name]) for name in (f"cameras.{package.CAMERA}", "text", "lidar"))
    with torch.no_grad():
        output = made(*given).numpy()
    wanted = preparation.statistics.action.to_units(output[0, :, : len(STD)])
    worst = float((np.abs(actions - wanted) / np.asarray(STD, np.float32)).max())
    if not worst <= LARGEST_DIFFERENCE:
        raise HomeportError(
            f"ONNX Runtime and torch differ by {worst:.1e}, at most {LARGEST_DIFFERENCE} is allowed; export again"
        )
