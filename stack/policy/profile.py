"""Profiles: the seed's nodes as settings of one node, with their own status topics under the seed's names and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_registry.core.errors import IncompatibleError


@dataclass(frozen=True)
class Profile:
    """How old inputs may be (s), how often the compatibility topics go out (s), and what they are called."""

    camera_max_age_s: float
    scan_max_age_s: float
    status_topic: str
    status_period_s: float
    memory_topic: str
    memory_period_s: float


PROFILES = {
    "resource_optimized": Profile(
        camera_max_age_s=0.3,
        scan_max_age_s=0.5,
        status_topic="/resource_optimization_status",
        status_period_s=1.0,
        memory_topic="/memory_usage",
        memory_period_s=0.5,
    ),
}


def profile(name: str) -> Profile:
    """Raises IncompatibleError when this version cannot run that profile."""
    if name not in PROFILES:
        raise IncompatibleError(
            f"profile {name}: not available in this version, which has {', '.join(PROFILES)}; change config.profile"
        )
    return PROFILES[name]


def resource_status(
    cpu: float, memory: float, hits: int, misses: int, action: Mapping[str, float], timestamp: float
) -> dict[str, object]:
    """The payload of `/resource_optimization_status`; `cpu` and `memory` in percent. What is cached today are the tokens of a command."""
    total = hits + misses
    return {
        "timestamp": timestamp,
        "cpu_usage": cpu,
        "memory_usage": memory,
        "gpu_memory_usage": 0.0,  # without a GPU
        "cache_stats": {"hits": hits, "misses": misses, "hit_rate": hits / total if total else 0.0},
        "action": dict(action),
    }
