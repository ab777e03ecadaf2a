"""Profiles: the seed's four nodes as settings of one node.

Each has its own status topics under the seed's names, rates and keys.

A release names its profile and may override a setting; what it cannot override are the limits and the topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_registry.core.errors import IncompatibleError, UsageError
from model_registry.core.release import BACKENDS
from stack.engine.backends import BackendIdentity
from stack.monitor.resources import ResourceSample

_COMPILED = ("tensorrt", "torch_tensorrt")


@dataclass(frozen=True)
class TopicFacts:
    """What the status topics tell.

    `timestamp` is ROS time (s), `cycle_s` what the newest inference took with all that belongs to it.
    """

    timestamp: float
    action: Mapping[str, float]
    cycle_s: float
    identity: BackendIdentity
    degraded: bool
    hits: int
    misses: int
    sample: ResourceSample

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU really computes, whatever was asked for."""
        return self.identity.name in _COMPILED or "cuda" in self.identity.versions


Body = Callable[[TopicFacts], dict[str, object] | float]


@dataclass(frozen=True)
class Topic:
    """One status topic.

    A `number` goes out as Float32, anything else as JSON in a String; `period_s` None is after every inference.
    """

    name: str
    body: Body
    period_s: float | None = None
    number: bool = False


def _deployment(facts: TopicFacts) -> dict[str, object]:
    return {
        "timestamp": facts.timestamp,
        "processing_time_ms": facts.cycle_s * 1e3,
        "action": dict(facts.action),
        "model_optimized": facts.identity.name in _COMPILED and not facts.degraded,
        "gpu_used": facts.on_gpu,
    }


def _acceleration(facts: TopicFacts) -> dict[str, object]:
    return {
        "timestamp": facts.timestamp,
        "processing_time_ms": facts.cycle_s * 1e3,
        "hardware_accelerated": facts.on_gpu,
        "action": dict(facts.action),
    }


def _resources(facts: TopicFacts) -> dict[str, object]:
    """CPU and memory in percent, GPU memory as a fraction, 0 without a GPU.

    What is cached are the features of commands, or their tokens where a model has no graph of its own for language.
    """
    total = facts.hits + facts.misses
    return {
        "timestamp": facts.timestamp,
        "cpu_usage": facts.sample.cpu_percent,
        "memory_usage": facts.sample.memory_percent,
        "gpu_memory_usage": (facts.sample.gpu_memory_percent or 0.0) / 100.0,
        "cache_stats": {"hits": facts.hits, "misses": facts.misses, "hit_rate": facts.hits / total if total else 0.0},
        "action": dict(facts.action),
    }


@dataclass(frozen=True)
class Profile:
    """How one kind of policy runs.

    How often to infer (Hz; 0 is every frame), how long one cycle may take (s), how far actions may go (m/s, rad/s), how
    old inputs may be (s), after how many equal frames the camera counts as frozen, and what is told on which topics.
    """

    inference_hz: float
    max_cycle_s: float
    limits: Mapping[str, float]
    depth: int
    topics: tuple[Topic, ...] = ()
    camera_max_age_s: float = 0.3
    scan_max_age_s: float = 0.5
    frozen_frames: int = 30
    detections: bool = False
    ladder: bool = False


_ONE = {"linear_x": 1.0, "angular_z": 1.0}
PROFILES = {
    "optimized": Profile(10.0, 1.0, _ONE, 5, (Topic("/vla_deployment_status", _deployment),), detections=True),
    "hardware_accelerated": Profile(
        20.0,
        1.0,
        _ONE,
        5,
        (
            Topic("/hardware_acceleration_status", _acceleration),
            Topic("/inference_performance", lambda facts: facts.cycle_s, number=True),
        ),
    ),
    "resource_optimized": Profile(
        0.0,
        1.0,
        _ONE,
        3,
        (
            Topic("/resource_optimization_status", _resources, 1.0),
            Topic("/memory_usage", lambda facts: (facts.sample.memory_percent or 0.0) / 100.0, 0.5, number=True),
        ),
        ladder=True,
    ),
    "safe_production": Profile(10.0, 0.1, {"linear_x": 0.5, "angular_z": 1.0}, 10),
}
SETTINGS = {
    "inference_hz": (0.0, 100.0),
    "max_cycle_s": (0.001, 5.0),
    "camera_max_age_s": (0.05, 2.0),
    "scan_max_age_s": (0.05, 2.0),
    "frozen_frames": (0, 1000),
}
"""What a release may override, and within which range."""


def profile(name: str, overrides: Mapping[str, float | str | bool]) -> Profile:
    """A profile with a release's overrides. Those that begin with the name of a backend are for that backend.

    Raises IncompatibleError when this version does not have the profile, and UsageError naming a setting that is
    unknown or out of range.
    """
    if name not in PROFILES:
        raise IncompatibleError(
            f"profile {name}: not available in this version, which has {', '.join(PROFILES)}; change config.profile"
        )
    mine: dict[str, Any] = {
        key: value for key, value in overrides.items() if not key.startswith(tuple(f"{each}_" for each in BACKENDS))
    }
    for key, value in mine.items():
        if key not in SETTINGS:
            raise UsageError(f"release.config.overrides.{key}: no such setting; there are {', '.join(SETTINGS)}")
        low, high = SETTINGS[key]
        if isinstance(value, (bool, str)) or not low <= value <= high:
            raise UsageError(f"release.config.overrides.{key}: expected {low} to {high}, got {value!r}")
    return replace(PROFILES[name], **mine)
