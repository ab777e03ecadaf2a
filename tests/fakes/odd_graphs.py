"""Model folders whose graph is as other people's exporters leave it, sound or not; see `fakes/model.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from tests.fakes.model import contract, make_model, scan_graph, write_contract

GRAPH = "policy.onnx"
Change = Callable[[onnx.ModelProto], None]


def with_graph(folder: Path, change: Change = lambda model: None, **save: object) -> Path:
    """A model folder with the graph of `scan_graph` after `change`, saved with onnx.save's own options `save`."""
    make_model(folder, size=0)
    model = scan_graph()
    change(model)
    write_graph(folder, model, **save)
    return folder


def write_graph(folder: Path, model: onnx.ModelProto, **save: object) -> None:
    """Replace the graph of a model folder, and list every file that is there then."""
    (folder / GRAPH).unlink()
    onnx.save(model, str(folder / GRAPH), **save)
    relist(folder)


def relist(folder: Path) -> None:
    """Write the contract of `fakes/model.py` anew, with the digests of the files that are there now."""
    write_contract(folder, contract(folder))


def put(folder: Path, path: str, data: bytes) -> Path:
    """Write one file of a model folder, and its digest into the contract."""
    (folder / path).write_bytes(data)
    relist(folder)
    return folder


def one_file(**more: object) -> dict[str, object]:
    """Options of onnx.save: all weights in one file beside the graph, as PyTorch writes every model."""
    return {"save_as_external_data": True, "location": f"{GRAPH}.data", "size_threshold": 0, **more}


def file_each() -> dict[str, object]:
    """Options of onnx.save: each weight in a file of its own, which is called like it."""
    return {"save_as_external_data": True, "all_tensors_to_one_file": False, "size_threshold": 0}


def rename_axes(*places: tuple[str, int, str]) -> Change:
    """Give axes of inputs and outputs names in the place of sizes: (tensor, axis, name); no name: nothing at all."""

    def change(model: onnx.ModelProto) -> None:
        ends = {item.name: item for item in (*model.graph.input, *model.graph.output)}
        for tensor, axis, name in places:
            dim = ends[tensor].type.tensor_type.shape.dim[axis]
            dim.Clear()
            if name:
                dim.dim_param = name

    return change
