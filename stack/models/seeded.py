"""Model folders of the seed's networks: exported, compared with ONNX Runtime, with goldens.

Not trained, and slow on purpose.

`resource_optimized` has a graph of its own for language, whose features are kept for the last commands, and carries the
same weights once more for frames of half the size, as its smaller variant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from model_registry.core.contract import LANGUAGE
from model_registry.core.errors import HomeportError
from stack.models import package
from stack.models.commands import tokenizer_json
from stack.models.export import INPUTS, LARGEST_DIFFERENCE, OUTPUT, graph
from stack.models.package import Form, GoldenTensors
from stack.models.seed import Part, SeedVLA, network

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
    goldens = [_golden(made, folder, number) for number in range(_GOLDENS)]
    others = [compare(made, folder, made.examples(100 + number)) for number in range(_CALIBRATION)]
    package.finish(
        folder, document, goldens, [{name: each[name] for name in each if name != OUTPUT} for each in others]
    )


def _export(made: SeedVLA, folder: Path) -> None:
    image, tokens, lidar = made.examples()
    if not made.shape.split:
        graph(made, (image, tokens, lidar), folder / package.GRAPH)
        return
    graph(Part(made, "understand"), (tokens,), folder / package.LANGUAGE_GRAPH, INPUTS[1:2], LANGUAGE)
    with torch.no_grad():
        inputs = image, made.understand(tokens), lidar
    graph(Part(made, "act"), inputs, folder / package.GRAPH, ("image", LANGUAGE, "lidar"))


def _golden(made: SeedVLA, folder: Path, number: int) -> GoldenTensors:
    given = compare(made, folder, made.examples(number))
    action = given[OUTPUT][0, :, : len(STD)] * np.asarray(STD, np.float32) + np.asarray(MEAN, np.float32)
    image, tokens, lidar = (given[name] for name in INPUTS)
    return GoldenTensors(f"random{number}", image, tokens, lidar, action)


def compare(made: SeedVLA, folder: Path, inputs: tuple[torch.Tensor, ...]) -> dict[str, NDArray[Any]]:
    """`inputs` by name, and what ONNX Runtime makes of them with the graphs in `folder`.

    Raises HomeportError when it is not what the whole network gives in torch.
    """
    with torch.no_grad():
        wanted = made(*inputs).numpy()
    given = dict(zip(INPUTS, (part.numpy() for part in inputs), strict=True))
    for path in (folder / package.LANGUAGE_GRAPH, folder / package.GRAPH):
        if path.exists():
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            feeds = {item.name: given[item.name] for item in session.get_inputs()}
            given[session.get_outputs()[0].name] = session.run(None, feeds)[0]
    worst = float(np.abs(given[OUTPUT] - wanted).max())
    if not worst <= LARGEST_DIFFERENCE:
        raise HomeportError(
            f"{folder}: ONNX Runtime and torch differ by {worst:.1e}, at most {LARGEST_DIFFERENCE} is allowed; export "
            "again"
        )
    return given
