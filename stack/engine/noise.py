"""Noise that can be told again: normally distributed numbers from a seed and the number of a frame.

The bits are those of the generator Philox, whose stream numpy keeps the same in all versions; they become numbers by
the method of Box and Muller.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_UNIT = 2.0**-53


def noise(seed: int, number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 `shape`; the same for the same seed and number, on every machine to the last but one bit."""
    count = math.prod(shape)
    pairs = (count + 1) // 2
    bits = np.random.Philox(key=[seed & _MASK, number & _MASK]).random_raw(2 * pairs)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * _UNIT  # above 0 and below 1
    radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
    angle = math.tau * uniform[pairs:]
    numbers = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]
    return numbers.reshape(shape).astype(np.float32)
