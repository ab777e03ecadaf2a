"""The seed's four networks, with the shapes mended that kept them from ever giving an action.

Not trained: for benches, proofs and as a start.

What is mended, in all: flattened vision is projected to the embedding; words are pooled over those that are there;
every network takes its lidar in the sectors that `stack/engine/lidar.py` makes. Added: K steps instead of one, and the
advisory score as a column of the output (safe_production), so that every backend carries it. What is kept: layers,
channels, kernels, embeddings, vocabularies, dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """A network by its numbers: image size, sectors, tokens, words, embedding, the side of the pooled features, and
    layers of fusion.

    `split` exports language as a graph of its own.
    """

    image: int
    sectors: int
    tokens: int
    words: int
    embedding: int
    pooled: int
    fusion: tuple[int, ...]
    dropout: float
    channels: int
    recurrent: bool = False
    advisory: bool = False
    split: bool = False


NETWORKS = {
    "optimized": Shape(224, 360, 20, 5000, 128, 4, (256, 128, 64), 0.1, 128, recurrent=True),
    "hardware_accelerated": Shape(224, 180, 10, 1000, 128, 8, (256, 128), 0.3, 128),
    "resource_optimized": Shape(224, 90, 10, 2000, 64, 4, (128, 64), 0.1, 64, split=True),
    "safe_production": Shape(224, 90, 10, 2000, 64, 4, (128, 64), 0.1, 64, advisory=True),
}


def _convolutions(*layers: tuple[int, int, int] | str) -> list[nn.Module]:
    """Convolutions (in, out, kernel) of stride 1 with ReLU; "half" pools to half the size."""
    modules: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, str):
            modules.append(nn.MaxPool2d(2))
        else:
            inputs, outputs, kernel = layer
            modules += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU()]
    return modules


def _separable(inputs: int, outputs: int) -> list[nn.Module]:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs)
    return [depthwise, nn.ReLU(), nn.Conv2d(inputs, outputs, 1), nn.ReLU()]


def _eyes(name: str) -> list[nn.Module]:
    if name == "hardware_accelerated":
        return _convolutions((3, 32, 3), (32, 64, 3), "half", (64, 128, 3))
    if name == "resource_optimized":
        return [*_separable(3, 16), *_separable(16, 32), *_separable(32, 64)]
    last: tuple[tuple[int, int, int], ...] = ((64, 128, 3),) if name == "optimized" else ()
    return _convolutions((3, 16, 7), (16, 32, 5), "half", (32, 64, 3), *last)


class SeedVLA(nn.Module):  # type: ignore[misc]
    """(image [B,3,s,s], tokens int64 [B,n], lidar [B,m]) -> normalised actions [B, steps, 2], or 3 with the advisory
    score (0..1).
    """

    def __init__(self, name: str, steps: int, image: int | None = None) -> None:
        super().__init__()
        shape = NETWORKS[name]
        size = shape.embedding
        self.shape = shape
        self.steps = steps
        self.image = image or shape.image
        self.eyes = nn.Sequential(*_eyes(name), nn.AdaptiveAvgPool2d((shape.pooled, shape.pooled)))
        self.vision = nn.Linear(shape.channels * shape.pooled**2, size)
        self.words = nn.Embedding(shape.words, size, padding_idx=0)
        self.recurrent = nn.LSTM(size, size, batch_first=True) if shape.recurrent else None
        self.language = nn.Linear(size, size)
        self.lidar = nn.Sequential(nn.Linear(shape.sectors, size), nn.ReLU(), nn.Linear(size, size))
        self.action = _head((3 * size, *shape.fusion, 2 * steps), shape.dropout)
        self.safety = nn.Sequential(*_head((3 * size, 64, 32, 1), 0.0), nn.Sigmoid()) if shape.advisory else None

    def forward(self, image: Tensor, tokens: Tensor, lidar: Tensor) -> Tensor:
        return self.act(image, self.understand(tokens), lidar)

    def act(self, image: Tensor, language: Tensor, lidar: Tensor) -> Tensor:
        """The same from features of language [B, embedding]."""
        parts = self.vision(self.eyes(image).flatten(1)), language, self.lidar(lidar)
        fused = torch.cat([functional.normalize(part, dim=1) for part in parts], dim=1)
        actions: Tensor = self.action(fused).view(-1, self.steps, 2)
        if self.safety is None:
            return actions
        return torch.cat((actions, self.safety(fused).unsqueeze(1).expand(-1, self.steps, 1)), dim=2)

    def understand(self, tokens: Tensor) -> Tensor:
        """Features of language [B, embedding]."""
        words = self.words(tokens)
        if self.recurrent is not None:
            words, _ = self.recurrent(words)
            pooled = words[:, -1]
        else:
            there = (tokens != 0).to(words.dtype).unsqueeze(-1)
            pooled = (words * there).sum(1) / there.sum(1).clamp(min=1.0)
        understood: Tensor = self.language(pooled)
        return understood

    def examples(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """One input of each kind, as the preparation gives them."""
        random = torch.Generator().manual_seed(seed)
        tokens = torch.zeros(1, self.shape.tokens, dtype=torch.int64)
        tokens[0, :4] = torch.randint(2, 20, (4,), generator=random)
        image = torch.randn(1, 3, self.image, self.image, generator=random)
        return image, tokens, torch.rand(1, self.shape.sectors, generator=random)


class Part(nn.Module):  # type: ignore[misc]
    """One method of a network as a network of its own, with the same weights."""

    def __init__(self, made: SeedVLA, method: str) -> None:
        super().__init__()
        self.made = made
        self.method = method

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = getattr(self.made, self.method)(*inputs)
        return result


def _head(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    modules: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        modules.append(nn.Linear(inputs, outputs))
        if number < len(sizes) - 2:
            modules.append(nn.ReLU())
        if number == 0 and dropout:
            modules.append(nn.Dropout(dropout))
    return nn.Sequential(*modules)


def network(name: str, steps: int, seed: int = 0, image: int | None = None) -> SeedVLA:
    """A network with weights from `seed`, ready to run; `image` is another size of its input."""
    torch.manual_seed(seed)
    made = SeedVLA(name, steps, image)
    made.eval()
    return made
