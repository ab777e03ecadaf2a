"""Teach the network: imitate the teacher where it drives, then where the learner itself ends up (DAgger)."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from model_registry.core.contract.cameras import CameraRecipe
from stack.engine.images import ImagePreprocessor
from stack.engine.observing import Frame
from stack.models.commands import COMMANDS, PHRASES, TOKENS, VOCABULARY, tokenizer_json
from stack.models.dataset import Actor, Frames, collect
from stack.models.expert import STEPS, Style
from stack.models.network import MemoryEfficientVLA
from stack.models.package import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD
from stack.models.pilot import encode, sectors
from stack.sim.scene import COLORS
from stack.sim.senses import Sensed

log = logging.getLogger(__name__)

BATCH = 96
COMMANDS_PER_FRAME = 4
LEARNING_RATE = 2e-3


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """One training run.

    Rounds after the first are driven by the learner; `final_steps` follow on everything collected.
    """

    seed: int
    style: Style
    rounds: int = 5
    frames: int = 5000
    steps: int = 250
    final_steps: int = 900
    threads: int = 2  # part of the recipe: sums in another order give other bytes


RECIPES = {
    "1.0.0": TrainingRecipe(seed=100, style=Style(cruise_mps=0.38, turn_gain=1.6, turn_limit=0.8)),
    "1.1.0": TrainingRecipe(
        seed=110, style=Style(cruise_mps=0.45, turn_gain=2.0, turn_limit=0.9), frames=7000, final_steps=1500, threads=1
    ),
}


class Trained(NamedTuple):
    """A network and how its output becomes real actions: output * std + mean, per dimension."""

    network: MemoryEfficientVLA
    mean: list[float]
    std: list[float]


class Learner:
    """The network in training with everything collected so far."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        self.recipe = recipe
        self._rng = np.random.default_rng(recipe.seed)
        self._random = torch.Generator().manual_seed(recipe.seed)
        self.network = MemoryEfficientVLA(len(VOCABULARY), STEPS).to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        self._phrase_counts = torch.tensor([len(group) for group in PHRASES.values()])
        longest = int(self._phrase_counts.max())
        padded = [text for group in PHRASES.values() for text in (*group, *group[:1] * (longest - len(group)))]
        tokenizer = Tokenizer.from_str(tokenizer_json().decode())
        tokens = np.concatenate([encode(tokenizer, text, TOKENS) for text in padded])  # int64 [commands * longest, 10]
        self._tokens = torch.from_numpy(tokens).view(len(COMMANDS), longest, TOKENS)
        self._weights = torch.tensor([3.0 if index < len(COLORS) else 0.7 for index in range(len(COMMANDS))])
        self._collected: list[Frames] = []
        self.mean = np.zeros(2, dtype=np.float32)
        self.std = np.ones(2, dtype=np.float32)
        self._pixel_mean = torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1)
        self._pixel_std = torch.tensor(IMAGE_STD).view(1, 3, 1, 1)

    def gather(self, frames: int, actor: Actor | None) -> None:
        self._collected.append(collect(frames, self._rng, self.recipe.style, actor))
        if len(self._collected) == 1:
            actions = self._collected[0].actions.reshape(-1, 2)
            self.mean = actions.mean(0).round(4)
            self.std = actions.std(0).round(4)

    def act(self, observations: list[Sensed], commands: list[int]) -> NDArray[np.float32]:
        """Real action chunks [n, steps, 2], by the network as it is now."""
        image = ImagePreprocessor(CameraRecipe(IMAGE_SIZE, IMAGE_SIZE, mean=IMAGE_MEAN, std=IMAGE_STD))
        prepared = [image((Frame(observation.rgb),)).copy() for observation in observations]
        images = torch.from_numpy(np.concatenate(prepared))
        lidars = torch.from_numpy(np.concatenate([sectors(observation.ranges) for observation in observations]))
        with torch.no_grad():
            output = self.network(images, self._tokens[torch.tensor(commands), 0], lidars).numpy()
        return np.asarray(output * self.std + self.mean, dtype=np.float32)

    def learn(self, steps: int, end_rate: float) -> float:
        """Take `steps` optimiser steps, the rate falling to `end_rate` x LEARNING_RATE; the mean loss of the last
        tenth.
        """
        columns = [np.concatenate(parts) for parts in zip(*self._collected, strict=True)]
        columns[2] = ((columns[2] - self.mean) / self.std).astype(np.float32)
        images, lidars, targets = map(torch.from_numpy, columns)
        losses = []
        for step in range(steps):
            fall = 0.5 * (1.0 + math.cos(math.pi * step / steps))
            for group in self._optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (end_rate + (1.0 - end_rate) * fall)
            rows = torch.randint(len(images), (BATCH,), generator=self._random)
            loss = self._loss(images[rows], lidars[rows], targets[rows])
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses[-max(1, steps // 10) :]))

    def _loss(self, images: Tensor, lidars: Tensor, targets: Tensor) -> Tensor:
        pixels = (images.permute(0, 3, 1, 2).float() / 255.0 - self._pixel_mean) / self._pixel_std
        light = 1.0 + 0.06 * torch.randn((len(pixels), 3, 1, 1), generator=self._random)
        features = self.network.see((pixels * light).contiguous(memory_format=torch.channels_last))
        chosen = torch.multinomial(self._weights.expand(len(pixels), -1), COMMANDS_PER_FRAME, generator=self._random)
        choice = torch.rand(chosen.shape, generator=self._random) * self._phrase_counts[chosen]
        tokens = self._tokens[chosen, choice.long()].flatten(0, 1)
        output = self.network.decide(
            features.repeat_interleave(COMMANDS_PER_FRAME, 0), tokens, lidars.repeat_interleave(COMMANDS_PER_FRAME, 0)
        )
        wanted = targets[torch.arange(len(targets))[:, None], chosen].flatten(0, 1)
        return torch.nn.functional.smooth_l1_loss(output, wanted, beta=0.5)


def train(recipe: TrainingRecipe) -> Trained:
    """Run `recipe` from its seed."""
    learner = Learner(recipe)
    for number in range(recipe.rounds):
        learner.gather(recipe.frames, learner.act if number else None)
        loss = learner.learn(recipe.steps if number else 2 * recipe.steps, 0.3)
        log.info("round %d of %d: loss %.4f", number + 1, recipe.rounds, loss)
    log.info("final steps: loss %.4f", learner.learn(recipe.final_steps, 0.01))
    mean, std = ([round(float(value), 4) for value in values] for values in (learner.mean, learner.std))
    return Trained(learner.network.eval(), mean, std)
