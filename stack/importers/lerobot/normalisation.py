"""How a LeRobot policy normalises: the modes in its two pipelines, and the statistics in their safetensors files.

    found = Normalisation.read(directory)
    found.state, found.action       one of none, mean_std, min_max, quantiles
    found.camera("observation.images.front")
    found.rows("action")            mean, std, min, max, q01, q99, one number for each dimension

Numbers that have no statistics pass LeRobot unchanged, without a word; here they are `none`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from model_registry.core.contract.observation import STATISTICS
from model_registry.core.errors import IncompatibleError
from model_registry.core.paths import check_path
from stack.importers.hints import Numbers, read_object
from stack.importers.lerobot.directory import ACTION, INSTEAD, POSTPROCESSOR, PREPROCESSOR, STATE, PolicyDirectory
from stack.importers.safetensors import SmallTensor, read_tensors

NORMALIZER = "normalizer_processor"
UNNORMALIZER = "unnormalizer_processor"
MODES = {"IDENTITY": "none", "MEAN_STD": "mean_std", "MIN_MAX": "min_max", "QUANTILES": "quantiles"}
_EPSILON = 1e-8
_CHANNELS = 3


class Levels(NamedTuple):
    """What is taken from the levels of an image in 0..1 and what they are divided by, by channel; both may be empty."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Normalisation:
    """`state` and `action` in the contract's words; `statistics`: feature → such as mean → numbers."""

    directory: PolicyDirectory
    state: str
    action: str
    images: str
    statistics: Mapping[str, Numbers]

    @classmethod
    def read(cls, directory: PolicyDirectory) -> Normalisation:
        """Raises HomeportError naming the file and the setting."""
        before = _step(directory, PREPROCESSOR, NORMALIZER)
        behind = _step(directory, POSTPROCESSOR, UNNORMALIZER)
        statistics = _statistics(directory.path, before)
        statistics[ACTION] = _statistics(directory.path, behind).get(ACTION, {})
        return cls(
            directory=directory,
            state=_known(_mode(directory, PREPROCESSOR, before, "STATE"), statistics.get(STATE, {})),
            action=_known(_mode(directory, POSTPROCESSOR, behind, "ACTION"), statistics[ACTION]),
            images=_mode(directory, PREPROCESSOR, before, "VISUAL"),
            statistics=statistics,
        )

    def rows(self, feature: str) -> Numbers:
        """The statistics of the state or the action; none where the directory has none."""
        return dict(self.statistics.get(feature, {}))

    def camera(self, feature: str) -> Levels:
        """How the images of a camera are normalised, as (level/255 − mean)/std."""
        mode = _known(self.images, self.statistics.get(feature, {}))
        if mode == "none":
            return Levels()
        first, second = (self.statistics[feature][kind] for kind in STATISTICS[mode])
        if len(first) != _CHANNELS or len(second) != _CHANNELS:
            raise self.directory.refuse(f"statistics of {feature} are not one number a channel; train it again")
        if mode == "mean_std":
            return Levels(tuple(first), tuple(second))
        halves = [((high - low) or _EPSILON) / 2 for low, high in zip(first, second, strict=True)]
        return Levels(tuple(low + half for low, half in zip(first, halves, strict=True)), tuple(halves))


def _known(mode: str, rows: Numbers) -> str:
    """A mode whose statistics are there; none where they are not."""
    return mode if all(kind in rows for kind in STATISTICS[mode]) else "none"


def _step(directory: PolicyDirectory, pipeline: str, name: str) -> Mapping[str, Any]:
    """One step of a pipeline, whole; empty where there is none."""
    steps = read_object(directory.path / pipeline).get("steps", [])
    found = [step for step in steps if step.get("registry_name") == name]
    if len(found) > 1:
        raise IncompatibleError(
            f"{directory.path / pipeline}: {name} comes {len(found)} times, and numbers are normalised once; {INSTEAD}"
        )
    return found[0] if found else {}


def _mode(directory: PolicyDirectory, pipeline: str, step: Mapping[str, Any], kind: str) -> str:
    if not step:
        return "none"
    config = step.get("config") or {}
    epsilon = config.get("eps", _EPSILON)
    if epsilon != _EPSILON:
        raise IncompatibleError(
            f"{directory.path / pipeline}: eps is {epsilon}, and preparation here adds {_EPSILON}; {INSTEAD}"
        )
    named = (config.get("norm_map") or {}).get(kind, "IDENTITY")
    if named not in MODES:
        raise IncompatibleError(
            f"{directory.path / pipeline}: {kind} is normalised by {named!r}, and {', '.join(MODES)} are known here; "
            f"{INSTEAD}"[:600]
        )
    return MODES[named]


def _statistics(folder: Path, step: Mapping[str, Any]) -> dict[str, Numbers]:
    """Feature → kind → numbers of one step's file."""
    name = step.get("state_file")
    if not isinstance(name, str):
        return {}
    found: dict[str, Numbers] = {}
    for key, tensor in read_tensors(folder / check_path(name, "state_file")).items():
        feature, _, kind = key.rpartition(".")
        if feature and _is_row(tensor):
            found.setdefault(feature, {})[kind] = list(tensor.numbers)
    return found


def _is_row(tensor: SmallTensor) -> bool:
    """Whether all axes but one are 1: one number for each dimension, or each channel."""
    return len([size for size in tensor.shape if size != 1]) <= 1
