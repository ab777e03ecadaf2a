"""From a trained network to a model folder: ONNX, checked against torch, with goldens from the simulator."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from model_registry.core.errors import HomeportError
from stack.engine.preparation import Preparation
from stack.importers.lerobot.onnx_file import strip
from stack.models import package, vectors
from stack.models.commands import TOKENS, tokenizer_json
from stack.models.expert import STEPS
from stack.models.package import IMAGE_SIZE, OUTPUT, SECTORS, GoldenObservation
from stack.models.pilot import Pilot
from stack.models.train import Trained

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 1e-4  # torch against ONNX Runtime, in normalised actions
OPSET = 18
INPUTS = ("image", "tokens", "lidar")
_LICENCE = """Apache-2.0

Trained by this project in its own simulator; no third-party data or weights. \
See the project's LICENSE for the full text.
"""
_README = """\
# {name} {version}

Drives a mobile base to a coloured pillar, turns, goes forward and stops on command, \
from one camera and a planar lidar. \
Trained in simulation for demonstrations and tests of Homeport; not for a real robot.
"""


def export(trained: Trained, version: str, folder: Path) -> None:
    """Write the model folder. Raises HomeportError when ONNX Runtime and torch disagree."""
    folder.mkdir(parents=True)
    image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    inputs = image, torch.ones(1, TOKENS, dtype=torch.int64), torch.ones(1, SECTORS)
    graph(trained.network, inputs, folder / package.GRAPH)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(trained.mean, trained.std))
    (folder / "LICENSE").write_text(_LICENCE)
    (folder / "README.md").write_text(_README.format(name=package.NAME, version=version))
    document = package.contract(version, STEPS)
    package.finish(folder, document, [])
    pilot = Pilot(folder)
    goldens = vectors.goldens(pilot)
    _compare(trained, goldens, pilot.inference.preparation)
    package.finish(folder, document, goldens, vectors.calibration())


def graph(
    network: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    names: tuple[str, ...] = INPUTS,
    output: str = OUTPUT,
) -> None:
    """Write a network as ONNX, without traces of this machine.

    `inputs` are tensors of the sizes it takes, in the order of `names`.
    """
    torch.onnx.export(
        network.to(memory_format=torch.contiguous_format),
        inputs,
        str(path),
        input_names=list(names),
        output_names=[output],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    strip(path)


def _compare(trained: Trained, goldens: list[GoldenObservation], preparation: Preparation) -> None:
    worst = 0.0
    for golden in goldens:
        tensors = preparation(golden.seen)
        given = (torch.from_numpy(tensors[name]) for name in (f"cameras.{package.CAMERA}", "text", "lidar"))
        with torch.no_grad():
            output = trained.network(*given)
        real = output[0].numpy() * np.array(trained.std, np.float32) + np.array(trained.mean, np.float32)
        worst = max(worst, float((np.abs(real - golden.action) / trained.std).max()))
    if worst > LARGEST_DIFFERENCE:
        raise HomeportError(
            f"ONNX Runtime and torch differ by {worst:.1e}, at most {LARGEST_DIFFERENCE} is allowed; export again"
        )
    log.info("torch and ONNX Runtime differ by at most %.1e", worst)
