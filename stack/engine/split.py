"""A model whose language has a graph of its own: two engines of one backend that run as one.

The features of the last commands are kept, so that a command costs one inference of its language, however many frames
it is followed for. A model of one graph is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from stack.engine.backends import Backend, Job, Runner, Tensor
from stack.engine.cache import Cache

FOLDER = "language"  # below the engine
KEPT = 16


def build(kind: type[Backend], job: Job) -> str:
    """Make the engine of each graph; the precision of both, when it is the same. Raises HomeportError."""
    *language, policy = job.contract.parts()
    built = [kind.build(replace(job, contract=policy))]
    for part in language:
        target = job.target / FOLDER
        scratch = job.scratch / FOLDER
        target.mkdir()
        scratch.mkdir()
        built.append(kind.build(replace(job, contract=part, target=target, scratch=scratch)))
    return " and ".join(dict.fromkeys(built))


def load(kind: type[Backend], precision: str, engine: Path, contract: Contract, kept: int = KEPT) -> Runner:
    """Open what `build` made; the features of `kept` commands are kept. Raises HomeportError."""
    *language, policy = contract.parts()
    acts = kind(precision)
    acts.load(engine, policy)
    if not language:
        return acts
    understands = kind(precision)
    understands.load(engine / FOLDER, *language)
    return Split(understands, acts, contract, kept)


class Split:
    """Runs the one graph, and the other before it when the words are new. `cache` has the features of the last ones."""

    def __init__(self, language: Runner, policy: Runner, contract: Contract, kept: int) -> None:
        understands, _ = contract.parts()
        self._language = language
        self._policy = policy
        self._words = understands.inputs[0]
        self._features = understands.output
        self.cache = Cache(self._understand, kept)
        self.identity = policy.identity

    @property
    def device_bytes(self) -> int:
        return self._language.device_bytes + self._policy.device_bytes

    def infer(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        given = dict(inputs)
        given[self._features] = self.cache(given.pop(self._words.name).tobytes())
        return self._policy.infer(given)

    def _understand(self, words: bytes) -> NDArray[np.float32]:
        tokens: NDArray[np.int64] = np.frombuffer(words, dtype=np.int64).reshape(self._words.shape).copy()
        return self._language.infer({self._words.name: tokens})

    def close(self) -> None:
        self._language.close()
        self._policy.close()
