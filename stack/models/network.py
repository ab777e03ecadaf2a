"""The network of the profile `resource_optimized`: MemoryEfficientVLA, made to work and to learn.

What it keeps: three blocks of stride 2 pooled to 4x4, mean of word embeddings, a small lidar encoder, embeddings of 64,
fusion 192 -> 128 -> 64. What changed, and why:

* the flattened vision (1024) is projected to the embedding size: the fusion layer expects 64;
* language modulates the vision features per channel (FiLM) and the result is pooled to columns, not only to 4x4: "the
  red pillar" is
  a matter of colour and of column, and a mean over a quarter of the picture loses a pillar that is 4 pixels wide;
* only language is scaled to unit length: for vision and lidar the length says how near a thing is;
* padding takes no part in the mean of the words;
* the head gives K steps, and language gates and shifts it, so that a standing command stands still whatever the camera
  shows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = 64
CHANNELS = (16, 32, 64)
COLUMN_CHANNELS = 24
COLUMN_ROWS = 2
COLUMNS = 14
LIDAR_SECTORS = 90


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, groups=inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1),
        nn.ReLU(),
    )


class MemoryEfficientVLA(nn.Module):  # type: ignore[misc]
    """(image [B,3,112,112], tokens int64 [B,10], lidar [B,90]) -> normalised actions [B, steps, 2]."""

    def __init__(self, vocabulary: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        first, second, third = CHANNELS
        # The first block is a full convolution: colour is a mixture of channels, which a depthwise one with ReLU cuts
        # apart.
        self.blocks = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1), nn.ReLU(), _separable(first, second), _separable(second, third)
        )
        self.pooled = nn.Linear(third * 16, EMBEDDING)
        self.words = nn.Embedding(vocabulary, EMBEDDING, padding_idx=0)
        self.language = nn.Linear(EMBEDDING, EMBEDDING)
        self.film = nn.Linear(EMBEDDING, 2 * third)
        self.select = nn.Conv2d(third, COLUMN_CHANNELS, 1)
        self.columns = nn.Linear(COLUMN_CHANNELS * COLUMN_ROWS * COLUMNS, EMBEDDING)
        self.lidar = nn.Sequential(nn.Linear(LIDAR_SECTORS, EMBEDDING), nn.ReLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.fusion = nn.Sequential(
            nn.Linear(3 * EMBEDDING, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, steps * 2)
        )
        self.gate = nn.Linear(EMBEDDING, 2)
        self.shift = nn.Linear(EMBEDDING, 2)
        # Open at first: a gate that ends in ReLU closed in training and never opened again.
        nn.init.ones_(self.gate.bias)

    def forward(self, image: Tensor, tokens: Tensor, lidar: Tensor) -> Tensor:
        return self.decide(self.see(image), tokens, lidar)

    def see(self, image: Tensor) -> Tensor:
        """Vision features [B, 64, 14, 14], the same for every command."""
        features: Tensor = self.blocks(image)
        return features

    def decide(self, features: Tensor, tokens: Tensor, lidar: Tensor) -> Tensor:
        """Normalised actions [B, steps, 2] from vision features, words and lidar."""
        known = (tokens != 0).to(features.dtype).unsqueeze(-1)
        mean = (self.words(tokens) * known).sum(1) / known.sum(1).clamp(min=1.0)
        language = functional.normalize(self.language(mean), dim=1)
        scale, offset = self.film(language).unsqueeze(-1).unsqueeze(-1).chunk(2, dim=1)
        chosen = torch.relu(self.select(torch.relu(features * (1.0 + scale) + offset)))
        columns = functional.max_pool2d(chosen, (COLUMNS // COLUMN_ROWS, 1)).flatten(1)
        coarse = functional.avg_pool2d(features, (4, 4), stride=(3, 3)).flatten(1)
        vision = torch.relu(self.pooled(coarse) + self.columns(columns))
        ranges = torch.relu(self.lidar(lidar))
        motion = self.fusion(torch.cat((vision, language, ranges), dim=1)).view(-1, self.steps, 2)
        gate = self.gate(language).unsqueeze(1)
        return motion * gate + self.shift(language).unsqueeze(1)
