"""Which arrays a file of goldens or calibration data holds: `stack/engine/goldens.py` lists what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_registry.core.contract import Contract

MOST_BYTES = 256 << 20
"""Of one file, unpacked: what a robot reads."""
_WORDS = {"u1": "uint8", "f": "numbers", "i": "whole numbers", "U": "words"}
_PATTERNS = {"u1": r"\|u1", "f": r"[<>|=]f[248]", "i": r"[<>|=][iu][1248]", "U": r"[<>|=]U\d+"}


@dataclass(frozen=True)
class WantedArray:
    """`kind`: u1, f, i or U in numpy's words; `shape` behind the axis of sets, 0 for any size."""

    kind: str
    shape: tuple[int, ...]

    def refuse(self, dtype: str, shape: tuple[int, ...]) -> str | None:
        """What is wrong with an array of this `dtype` (such as <f4) and shape, as the end of a sentence."""
        if not re.fullmatch(_PATTERNS[self.kind], dtype):
            return f"holds {dtype}, and {_WORDS[self.kind]} are wanted"
        if not shape or not shape[0]:
            return "is empty"
        fits = len(shape) == len(self.shape) + 1 and all(
            size >= 1 if wanted == 0 else size == wanted for size, wanted in zip(shape[1:], self.shape, strict=True)
        )
        if fits:
            return None
        sizes = ", ".join(str(size or "any") for size in self.shape)
        return f"is {list(shape)}, and vla.json wants [sets{', ' if sizes else ''}{sizes}]"


def wanted_arrays(contract: Contract, *, golden: bool = False) -> dict[str, WantedArray]:
    """The arrays of calibration data, or of a `golden`, by name."""
    recipes = contract.observation
    dims = len(contract.action.dims)
    found: dict[str, WantedArray] = {}
    for name, camera in recipes.cameras.items():
        found[f"cameras.{name}"] = WantedArray("u1", (*_series(camera.frames), 0, 0, 3))
    if recipes.goal is not None:
        found["goal"] = WantedArray("u1", (0, 0, 3))
    if recipes.state is not None:
        found["state"] = WantedArray("f", (*_series(recipes.state.frames), len(recipes.state.keys)))
    if recipes.text is not None:
        found["text"] = WantedArray("U", ())
    if recipes.lidar is not None:
        found["lidar.ranges"] = WantedArray("f", (0,))
        found["lidar.limits"] = WantedArray("f", (4,))
    if recipes.prefix:
        found["prefix"] = WantedArray("f", (recipes.prefix, dims))
    if recipes.delay:
        found["delay"] = WantedArray("i", ())
    if recipes.noise is not None:
        found["seed"] = WantedArray("i", ())
    if golden:
        found["action"] = WantedArray("f", (contract.action.horizon, dims))
    return found


def _series(frames: tuple[int, ...]) -> tuple[int, ...]:
    return (len(frames),) if len(frames) > 1 else ()
