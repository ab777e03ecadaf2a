"""What PyTorch exports today of the parts that policies are made of runs in the torch backends as it does in PyTorch.

Skipped where torch is not installed (requirements/torch.txt).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("onnxscript", reason="ONNX Script is not installed: run make test-torch")

nn = torch.nn
functional = torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def rotated(x: Any, positions: Any) -> Any:
    """[batch, heads, length, size], turned by angles that grow with the position."""
    half = x.shape[-1] // 2
    rates = 1.0 / (10_000.0 ** (torch.arange(0, half, dtype=torch.float32) / half))
    angles = (positions[:, None, :, None].float() * rates).to(torch.float32)
    one, other = x[..., :half], x[..., half:]
    return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], -1)


def rms(x: Any, weight: Any) -> Any:
    kept = x.dtype
    x = x.to(torch.float32)
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(kept)


class Language(nn.Module):
    """A decoder with fewer heads for keys than for queries, positions that padding does not count, and masks."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 32)
        self.weight = nn.Parameter(torch.rand(32))
        self.query = nn.Linear(32, 32, bias=False)
        self.key = nn.Linear(32, 16, bias=False)
        self.value = nn.Linear(32, 16, bias=False)
        self.gate = nn.Linear(32, 64)
        self.down = nn.Linear(64, 32)

    def forward(self, tokens: Any, mask: Any, state: Any) -> Any:
        x = self.words(tokens) * (32**0.5)
        x = torch.cat([x, state[:, None]], 1)
        present = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        blocks = torch.zeros_like(present)
        blocks[:, -1:] = True
        order = torch.cumsum(blocks.int(), 1)
        sees = (order[:, None, :] <= order[:, :, None]) & (present[:, None, :] & present[:, :, None])
        positions = torch.cumsum(present.long(), 1) - 1
        y = rms(x, self.weight)
        query = rotated(self.query(y).reshape(1, -1, 4, 8).transpose(1, 2), positions)
        key = rotated(self.key(y).reshape(1, -1, 2, 8).transpose(1, 2), positions)
        value = self.value(y).reshape(1, -1, 2, 8).transpose(1, 2)
        keys = key[:, :, None].expand(1, 2, 2, -1, 8).reshape(1, 4, -1, 8)
        values = value[:, :, None].expand(1, 2, 2, -1, 8).reshape(1, 4, -1, 8)
        scores = torch.einsum("bhqd,bhkd->bhqk", query, keys) * 8**-0.5
        scores = torch.where(sees[:, None], scores, torch.finfo(torch.float32).min)
        x = x + (scores.softmax(-1) @ values).transpose(1, 2).reshape(1, -1, 32)
        x = x + self.down(functional.silu(self.gate(x)))
        return x, key, value


class Sight(nn.Module):
    """Patches with positions that are stretched to the picture, PyTorch's own attention, and a small residual net."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.positions = nn.Parameter(torch.rand(1, 16, 3, 3))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.wide = nn.Linear(16, 32)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.Mish())

    def forward(self, picture: Any) -> Any:
        x = picture.to(torch.float32) / 255 * 2 - 1
        x = functional.interpolate(x, (48, 40), mode="bilinear", align_corners=False)
        x = functional.pad(x, (0, 8, 0, 0), value=-1.0)
        places = functional.interpolate(self.positions, (6, 6), mode="bicubic", align_corners=False)
        tokens = (self.patches(x) + places).flatten(2).transpose(1, 2)
        seen = self.norm(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        tokens = functional.gelu(self.wide(tokens), approximate="tanh")
        y = self.stem(x)
        y = self.grouped(y) + functional.interpolate(y[:, :, ::2, ::2], scale_factor=2, mode="nearest")
        return tokens, functional.adaptive_avg_pool2d(y, 1).flatten(1)


class Denoiser(nn.Module):
    """One step of a diffusion policy: a net over time with a table of the step's sines, scaled by what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(7, 16, 5, padding=2), nn.GroupNorm(8, 16), nn.Mish())
        self.film = nn.Sequential(nn.Mish(), nn.Linear(8 + 12, 32))
        self.down = nn.Conv1d(16, 16, 3, 2, 1)
        self.middle = nn.Sequential(nn.Conv1d(16, 16, 3, padding=1), nn.InstanceNorm1d(16, affine=True), nn.SiLU())
        self.up = nn.ConvTranspose1d(16, 16, 4, 2, 1)
        self.last = nn.Conv1d(32, 7, 1)
        self.register_buffer("kept", torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100), 0))

    def forward(self, actions: Any, step: Any, seen: Any) -> Any:
        rates = torch.exp(torch.arange(4) * -(np.log(10_000.0) / 3))
        angles = step[:, None].float() * rates[None]
        known = torch.cat([angles.sin(), angles.cos(), seen], -1)
        x = self.first(actions.transpose(1, 2))
        scale, shift = self.film(known)[..., None].chunk(2, 1)
        x = scale * x + shift
        y = self.up(self.middle(self.down(x)))
        noise = self.last(torch.cat([x, y], 1)).transpose(1, 2)
        kept = self.kept[step].reshape(-1, 1, 1)
        clean = ((actions - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)
        return clean, noise


class Picking(nn.Module):
    """What is done by index: the best of each row, a table of bins, and rows that are put in their places."""

    def forward(self, scores: Any, places: Any) -> Any:
        best, which = scores.topk(2, -1)
        bins = torch.bucketize(scores, torch.linspace(-1, 1, 5))
        written = torch.zeros(4, 6).index_put((places,), scores)
        moved = torch.zeros(4, 6, dtype=torch.int64).scatter_add(0, places[:, None].expand(-1, 6), bins)
        lower = torch.tril(torch.ones(6, 6, dtype=torch.bool))
        turned = torch.roll(scores, 1, -1).flip(0)
        finite = torch.nan_to_num(scores / scores.new_zeros(()), nan=0.0)
        return best, which, bins, written, moved, lower[which[:, 0]], turned, finite, scores.argmax(-1) % 3


SEED = 4


def parts() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Modules and what they are given."""
    torch.manual_seed(SEED)
    mask = torch.tensor([[True] * 5 + [False] * 2])
    return {
        "language": (Language(), (torch.randint(0, 50, (1, 7)), mask, torch.randn(1, 32))),
        "sight": (Sight(), (torch.randint(0, 256, (1, 3, 60, 50), dtype=torch.uint8),)),
        "denoiser": (Denoiser(), (torch.randn(1, 16, 7), torch.tensor([37]), torch.randn(1, 12))),
        "picking": (Picking(), (torch.randn(3, 6), torch.tensor([2, 0, 3]))),
    }


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("part", ["language", "sight", "denoiser", "picking"])
def test_a_part_of_a_policy_gives_what_pytorch_and_onnx_runtime_give(part: str, opset: int, tmp_path: Path) -> None:
    from stack.engine.onnx_torch import TorchGraph

    module, inputs = parts()[part]
    module.eval()
    path = tmp_path / "part.onnx"
    torch.onnx.export(module, inputs, str(path), dynamo=True, opset_version=opset, verbose=False)
    model = onnx.load(path)
    names = [item.name for item in model.graph.input]
    results = [item.name for item in model.graph.output]
    ours = TorchGraph(model, names, results).eval()
    given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    theirs = onnxruntime.InferenceSession(str(path)).run(results, given)
    with torch.no_grad():
        made = ours(*inputs)
        wanted = module(*inputs)
        exported = torch.export.export(ours, inputs).module()(*inputs)
    for one, original, runtime, again in zip(made, wanted, theirs, exported, strict=True):
        assert one.dtype == original.dtype
        assert torch.allclose(one, original, rtol=1e-5, atol=1e-5)
        assert np.allclose(one.numpy(), runtime, rtol=1e-5, atol=1e-5)
        assert torch.equal(one, again)
