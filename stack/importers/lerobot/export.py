"""One policy to ONNX graphs in a folder: the entry point for every type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stack.importers.lerobot import act, diffusion, smolvla
from stack.importers.lerobot.exported import Exported, ExportedTensor
from stack.importers.lerobot.loading import LoadedPolicy

_EXPORTS = {"act": act.export, "diffusion": diffusion.export, "smolvla": smolvla.export}


def export(policy: LoadedPolicy, folder: Path) -> Exported:
    """Write every graph of a policy into an existing folder. Raises HomeportError."""
    exported = _EXPORTS[policy.directory.type](policy, folder)
    made = {graph.id for graph in exported.graphs}
    observed: dict[str, ExportedTensor] = dict(exported.observed)
    for graph in exported.graphs:
        for tensor in graph.inputs:
            source = graph.sources[tensor.name]
            if source not in ("x", "time") and source.partition(".")[0] not in made:
                observed[source] = tensor._replace(name=source)
    return replace(exported, observed=observed)
