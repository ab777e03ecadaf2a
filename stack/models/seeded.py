"""Model folders of the seed's networks: exported, compared with ONNX Runtime, with goldens. Not trained, and slow on purpose.

`resource_optimized` carries the same weights once more for frames of half the size, as its smaller variant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from model_registry.core.errors import HomeportError
from stack.models import package
from stack.models.commands import tokenizer_json
from stack.models.export import LARGEST_DIFFERENCE, graph
from stack.models.package import Form, Golden
from stack.models.seed import NETWORKS, SeedVLA, network

STEPS = 8
SMALL, SMALL_IMAGE = "small", 112
MEAN, STD = (0.0, 0.0), (0.1, 0.1)  # m/s and rad/s for an output of 0 and 1
_GOLDENS = 3
_README = """\
# {name} {version}

The network of the seed's profile `{profile}` with random weights: for benches and for trying backends. It was never trained; let it move nothing.
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
    graph(made, made.examples(), folder / package.GRAPH)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(MEAN, STD))
    (folder / "README.md").write_text(_README.format(name=name, version=version, profile=profile))
    shape = NETWORKS[profile]
    form = Form(name, made.image, "linear", shape.sectors, shape.tokens, "safety" if shape.advisory else None)
    document = package.contract(version, STEPS, form)
    if variants:
        document["variants"] = variants
    package.finish(folder, document, [_golden(made, folder / package.GRAPH, number) for number in range(_GOLDENS)])


def _golden(made: SeedVLA, path: Path, number: int) -> Golden:
    inputs = made.examples(number)
    output = compare(made, path, inputs)
    action = output[0, :, : len(STD)] * np.asarray(STD, np.float32) + np.asarray(MEAN, np.float32)
    image, tokens, lidar = (part.numpy() for part in inputs)
    return Golden(f"random{number}", image, tokens, lidar, action)


def compare(made: SeedVLA, path: Path, inputs: tuple[torch.Tensor, ...]) -> NDArray[np.float32]:
    """What ONNX Runtime gives for `inputs`. Raises HomeportError when it is not what torch gives."""
    with torch.no_grad():
        wanted = made(*inputs).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = dict(zip(("image", "tokens", "lidar"), (part.numpy() for part in inputs), strict=True))
    output: NDArray[np.float32] = session.run(["action"], feeds)[0]
    worst = float(np.abs(output - wanted).max())
    if not worst <= LARGEST_DIFFERENCE:
        raise HomeportError(
            f"{path}: ONNX Runtime and torch differ by {worst:.1e}, at most {LARGEST_DIFFERENCE} is allowed; export again"
        )
    return output
