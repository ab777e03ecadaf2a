"""What PyTorch writes today, weights in a second file and axes with names, is packed and built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from model_registry.core.onnx_parts import external
from model_registry.packing import prepare
from stack.engine.backends.onnxruntime import OnnxRuntime
from tests.fakes.jobs import build_and_load, make_job
from tests.fakes.model import make_model
from tests.fakes.odd_graphs import GRAPH, relist

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("onnxscript", reason="ONNX Script is not installed: run make test-torch")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def network() -> Any:
    """A scan [batch, 90] and tokens [batch, 8] to a chunk [batch, 8, 2], through a recurrent layer."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sees = torch.nn.Linear(90, 64)
            self.understands = torch.nn.Embedding(100, 64)
            self.remembers = torch.nn.GRU(64, 32, batch_first=True)
            self.acts = torch.nn.Linear(32, 16)

        def forward(self, lidar: Any, tokens: Any) -> Any:
            seen = torch.nn.functional.gelu(self.sees(lidar) + self.understands(tokens).mean(1))
            remembered, _ = self.remembers(seen.unsqueeze(1))
            return self.acts(remembered[:, 0]).reshape(-1, 8, 2)

    torch.manual_seed(5)
    return Network().eval()


@pytest.mark.parametrize("batch", [None, "batch"])
def test_an_export_of_today_is_packed_and_built(batch: str | None, tmp_path: Path) -> None:
    model = network()
    folder = make_model(tmp_path / "model", size=0)
    (folder / GRAPH).unlink()
    count = 2 if batch else 1
    example = torch.zeros(count, 90), torch.zeros(count, 8, dtype=torch.int64)
    axis = {0: torch.export.Dim(batch)} if batch else None
    shapes = {"dynamic_shapes": {"lidar": axis, "tokens": axis}} if batch else {}
    names = {"input_names": ["lidar", "tokens"], "output_names": ["action"]}
    torch.onnx.export(model, example, str(folder / GRAPH), dynamo=True, opset_version=20, **names, **shapes)
    relist(folder)
    assert any(map(external, onnx.load(str(folder / GRAPH), load_external_data=False).graph.initializer))
    ends = ("lidar", "tokens", "action") if batch else ()
    assert list(prepare(folder).notes) == [f"{GRAPH}: axis 0 of '{name}' (batch) is fixed to 1" for name in ends]
    backend = build_and_load(OnnxRuntime, make_job(folder, tmp_path))
    lidar = np.random.default_rng(2).random((1, 90)).astype(np.float32)
    tokens = np.arange(8, dtype=np.int64).reshape(1, 8)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(lidar), torch.from_numpy(tokens)).numpy()
    assert np.allclose(backend.infer({"lidar": lidar, "tokens": tokens})["action"], wanted, atol=1e-5)
    backend.close()
