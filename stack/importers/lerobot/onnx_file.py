"""A PyTorch module as an ONNX file, without traces of the machine that made it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from model_registry.core.errors import HomeportError
from stack.importers.lerobot.exported import ExportedGraph, ExportedTensor

OPSET = 20
LARGEST_SINGLE_FILE = 1_500_000_000
"""Bytes of weights above which they go to a second file: a protobuf message ends at 2 GiB."""


def write(
    module: torch.nn.Module,
    folder: Path,
    id: str,
    runs: str,
    inputs: Sequence[tuple[str, str, torch.Tensor]],
    outputs: Sequence[str],
) -> ExportedGraph:
    """Write `<id>.onnx` and tell what is in it.

    `inputs` are names in the graph, the source that fills each, and an example of its shape and type. Raises
    HomeportError where PyTorch cannot export the module.
    """
    path = folder / f"{id}.onnx"
    module = module.eval().requires_grad_(False)
    examples = tuple(tensor for _, _, tensor in inputs)
    with torch.no_grad():
        given = module(*examples)
    results = given if isinstance(given, tuple) else (given,)
    _export(module, examples, path, [name for name, _, _ in inputs], outputs)
    strip(path)
    return ExportedGraph(
        id=id,
        path=path.name,
        runs=runs,
        inputs=tuple(_told(name, tensor) for name, _, tensor in inputs),
        outputs=tuple(_told(name, tensor) for name, tensor in zip(outputs, results, strict=True)),
        sources={name: source for name, source, _ in inputs},
    )


def _export(
    module: torch.nn.Module,
    examples: tuple[torch.Tensor, ...],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    weights = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                examples,
                str(path),
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                external_data=weights > LARGEST_SINGLE_FILE,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise HomeportError(f"{path}: PyTorch cannot export it ({_last_line(error)}); update PyTorch") from error


def strip(path: Path) -> None:
    """Drop source paths and stack traces, which differ on every machine. Weights in a second file stay there."""
    model = onnx.load(path, load_external_data=False)
    model.producer_version = ""
    model.doc_string = ""
    del model.metadata_props[:]
    body = model.graph
    for part in (body, *body.node, *body.initializer, *body.input, *body.output, *body.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))


def _told(name: str, tensor: torch.Tensor) -> ExportedTensor:
    return ExportedTensor(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:400]
