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
_DECILES = "QUANTILE10"
MODES = {
    "IDENTITY": "none",
    "MEAN_STD": "mean_std",
    "MIN_MAX": "min_max",
    "QUANTILES": "quantiles",
    _DECILES: "quantiles",
}
"""LeRobot's words, and the contract's. QUANTILE10 is the formula of quantiles, between those of 10 and 90 %."""
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
        before = _Step.of(directory, PREPROCESSOR, NORMALIZER)
        behind = _Step.of(directory, POSTPROCESSOR, UNNORMALIZER)
        statistics = before.statistics("STATE", "VISUAL")
        statistics[ACTION] = behind.statistics("ACTION").get(ACTION, {})
        return cls(
            directory=directory,
            state=_known(before.mode("STATE"), statistics.get(STATE, {})),
            action=_known(behind.mode("ACTION"), statistics[ACTION]),
            images=before.mode("VISUAL"),
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


@dataclass(frozen=True)
class _Step:
    """A normalising step of a pipeline: its settings, and the file of its statistics."""

    place: Path
    config: Mapping[str, Any]
    file: Path | None

    @classmethod
    def of(cls, directory: PolicyDirectory, pipeline: str, name: str) -> _Step:
        """Raises IncompatibleError for what is not done here as LeRobot does it."""
        place = directory.path / pipeline
        steps = [step for step in read_object(place).get("steps", []) if step.get("registry_name") == name]
        if len(steps) > 1:
            raise IncompatibleError(
                f"{place}: {name} comes {len(steps)} times, and numbers are normalised once; {INSTEAD}"
            )
        if not steps:
            return cls(place, {}, None)
        config = steps[0].get("config") or {}
        epsilon = config.get("eps", _EPSILON)
        if epsilon != _EPSILON:
            raise IncompatibleError(f"{place}: eps is {epsilon}, and preparation here adds {_EPSILON}; {INSTEAD}")
        named = steps[0].get("state_file")
        file = directory.path / check_path(named, f"{place}: state_file") if isinstance(named, str) else None
        return cls(place, config, file)

    def named(self, kind: str) -> str:
        """LeRobot's word for how STATE, ACTION or VISUAL is normalised."""
        named = (self.config.get("norm_map") or {}).get(kind, "IDENTITY")
        if named not in MODES:
            raise IncompatibleError(
                f"{self.place}: {kind} is normalised by {named!r}, and {', '.join(MODES)} are known here; {INSTEAD}"[
                    :600
                ]
            )
        return str(named)

    def mode(self, kind: str) -> str:
        """The same in the contract's words."""
        return MODES[self.named(kind)]

    def statistics(self, *kinds: str) -> dict[str, Numbers]:
        """Feature → such as mean → numbers, for the features of these kinds that this step normalises."""
        if self.file is None:
            return {}
        found: dict[str, Numbers] = {}
        for key, tensor in read_tensors(self.file).items():
            feature, _, statistic = key.rpartition(".")
            if self._kind(feature) in kinds and _is_row(tensor):
                found.setdefault(feature, {})[statistic] = list(tensor.numbers)
        for feature, rows in found.items():
            if self.named(self._kind(feature)) == _DECILES and {"q10", "q90"} <= rows.keys():
                found[feature] = rows | {"q01": rows["q10"], "q99": rows["q90"]}
        return found

    def _kind(self, feature: str) -> str:
        """STATE, ACTION or VISUAL, for a feature that is listed to be normalised; empty for any other."""
        listed = self.config.get("features") or {}
        only = self.config.get("normalize_observation_keys")
        if feature not in listed or (only and feature != ACTION and feature not in only):
            return ""
        return str(listed[feature].get("type", ""))


def _is_row(tensor: SmallTensor) -> bool:
    """Whether all axes but one are 1: one number for each dimension, or each channel."""
    return len([size for size in tensor.shape if size != 1]) <= 1
