"""The last results of a function that is slow and always gives the same for the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Cache(Generic[A, R]):
    """Calls a function of one hashable argument, and remembers its last `size` results (0: none).

    `hits` were remembered, `misses` were computed.
    """

    def __init__(self, function: Callable[[A], R], size: int) -> None:
        self._remembered = lru_cache(size)(function)

    def __call__(self, argument: A) -> R:
        return self._remembered(argument)

    @property
    def hits(self) -> int:
        return self._remembered.cache_info().hits

    @property
    def misses(self) -> int:
        return self._remembered.cache_info().misses
