"""From samples to diagnostics, as plain data. What is missing is a value ("no data"), never an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from model_registry.core.documents import parse
from model_registry.core.errors import UsageError
from stack.monitor.resources import Resources

OK, WARN, ERROR, STALE = range(4)
NO_DATA = "no data"
STALE_S = 1.5
_SLOT_KEYS = (
    "state", "void_reason", "backend", "degraded", "rung", "inference_p99_ms", "late_p99_ms", "missed", "empty", "late",
    "non_finite", "memory_bytes",
)  # fmt: skip
_STATE_KEYS = ("state", "armed", "held")
# Name of a sample → from which value on it is worth a warning, and what to say then.
_LIMITS = {
    "memory_percent": (95.0, "memory is nearly full"),
    "disk_percent": (90.0, "disk is nearly full"),
    "temperature_c": (95.0, "it is too hot"),
    "throttled": (0.5, "it throttles itself"),
}


@dataclass(frozen=True)
class HealthStatus:
    """One entry of a DiagnosticArray."""

    name: str
    level: int
    message: str
    values: dict[str, str]


def sample(resources: Resources, root: Path) -> dict[str, float | None]:
    """What the machine does now, and the disk that `root` is on."""
    try:
        disk = psutil.disk_usage(str(root))
    except OSError:
        disk = None
    full, free = (disk.percent, float(disk.free)) if disk else (None, None)
    return {**asdict(resources.sample()), "disk_percent": full, "disk_free_bytes": free}


def machine(found: Mapping[str, float | None]) -> HealthStatus:
    """Says which limit was crossed."""
    texts = [text for name, (limit, text) in _LIMITS.items() if (found.get(name) or 0.0) > limit]
    return HealthStatus("machine", WARN if texts else OK, "; ".join(texts) or "ok", _texts(found))


def read(path: Path) -> bytes | None:
    """A status file, or None when there is none that can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def slot(name: str, data: bytes | None, now_ns: int) -> HealthStatus:
    """What a slot's status.json says; `now_ns` is monotonic, the same clock inside and outside of containers."""
    title = f"slot {name}"
    if data is None:
        return HealthStatus(title, OK, NO_DATA, {})
    found = _document(data, title)
    if found is None:
        return HealthStatus(title, ERROR, "its status.json cannot be read; look at its log", {})
    age_s = _age_s(found, now_ns)
    values: dict[str, object] = {key: found.get(key) for key in _SLOT_KEYS}
    heard, faults = _inputs(found)
    values |= heard
    values["age_ms"] = None if age_s is None else round(age_s * 1000)
    if age_s is None or age_s > STALE_S:
        level = STALE
        text = "no longer writes its status.json"
    elif found.get("state") == "failed":
        level = ERROR
        text = str(found.get("error") or "failed")
    elif faults:
        level = WARN
        text = "; ".join(faults)
    elif found.get("struggling"):
        level = WARN
        text = "misses ticks, or has nothing to say in them"
    elif found.get("gap_free") is False:
        level = WARN
        text = "an action chunk does not last until the next one"
    else:
        level, text = (WARN, "degraded") if found.get("degraded") else (OK, str(found.get("state")))
    return HealthStatus(title, level, text, _texts(values))


def _inputs(found: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Of every input of a slot the figures, and of those that it does not use what is wrong with them."""
    values: dict[str, object] = {}
    faults: list[str] = []
    sources = found.get("sources")
    for source, entry in sources.items() if isinstance(sources, dict) else ():
        known = entry if isinstance(entry, dict) else {}
        values[f"{source}_age_ms"] = known.get("age_ms")
        values |= {f"{source}_{key}": known[key] for key in ("fault", "error") if known.get(key)}
        if known.get("fault"):
            faults.append(f"{source}: {known.get('error')}")
    return values, faults


def supervisor(data: bytes | None, age_s: float) -> HealthStatus:
    """What the last /safety/state says, `age_s` after it arrived."""
    found = None if data is None else _document(data, "/safety/state")
    if found is None:
        return HealthStatus("supervisor", STALE, NO_DATA, {})
    values: dict[str, object] = {key: found.get(key) for key in _STATE_KEYS}
    for key in ("reasons", "blocking"):
        values[key] = " ".join(_listed(found, key)) if isinstance(found.get(key), list) else None
    unheard = _listed(found, "unheard")
    values |= {"unheard": "; ".join(unheard)} if unheard else {}
    values["age_ms"] = round(age_s * 1000)
    text = "; ".join([str(found.get("state")), *unheard])
    if age_s > STALE_S:
        level = STALE
        text = "is silent"
    elif found.get("state") == "LATCHED":
        level = ERROR
    else:
        level = WARN if unheard else OK
    return HealthStatus("supervisor", level, text, _texts(values))


def _listed(found: Mapping[str, object], key: str) -> list[str]:
    """A list of texts; an older program may not say it."""
    listed = found.get(key)
    return [str(each) for each in listed] if isinstance(listed, list) else []


def _document(data: bytes, what: str) -> dict[str, object] | None:
    try:
        found = parse(data, what)
    except UsageError:
        return None
    return found if isinstance(found, dict) else None


def _age_s(found: Mapping[str, object], now_ns: int) -> float | None:
    written = found.get("monotonic_ns")
    return max(0.0, (now_ns - written) / 1e9) if isinstance(written, int) else None


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: NO_DATA if value is None else str(value) for key, value in values.items()}
