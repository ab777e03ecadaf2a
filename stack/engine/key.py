"""The engine key: an engine is used only for the model bytes, the recipe and the device it was built and proved for.

Everything that could change what an engine computes, or how fast, is in one document; its sha256 names the engine's
folder.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path, PurePosixPath

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.release import Release
from stack.engine.backends import BackendIdentity

CONVERSION = 2  # rises when the same model would be converted or built to other bytes
_WEIGHTS = frozenset({".data", ".onnx_data", ".safetensors", ""})  # one file a tensor: named by it, without an ending
_CPU_INFO = Path("/proc/cpuinfo")
_POWER_MODE = Path("/var/lib/nvpmodel/status")  # Jetson only
# Only flags that choose code: a kernel update adds others, and must not make every engine foreign.
_COMPUTING = ("sse", "ssse", "avx", "amx", "fma", "f16c", "bmi", "popcnt", "fp", "asimd", "sve", "sme", "i8mm", "bf16")


def cpu_identity(cpu_info: Path = _CPU_INFO) -> dict[str, str]:
    """Architecture, model name and a hash of the computing instruction sets of the first core."""
    fields: dict[str, str] = {}
    for line in cpu_info.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or f"{fields.get('CPU implementer', '?')}/{fields.get('CPU part', '?')}"
    instructions = (fields.get("flags") or fields.get("Features") or "").split()
    flags = sorted(flag for flag in instructions if flag.startswith(_COMPUTING))
    return {"arch": platform.machine(), "model": model, "flags": Digest.of(" ".join(flags).encode()).hex}


def power_mode(path: Path = _POWER_MODE) -> str | None:
    """What decides how fast a Jetson is; None elsewhere."""
    return path.read_text(encoding="utf-8").strip() if os.access(path, os.R_OK) else None


def document(contract: Contract, release: Release, identity: BackendIdentity) -> dict[str, object]:
    """Everything an engine depends on. The budget is in it too: `ready` is a promise about that budget."""
    recipe = release.recipe
    parts = {graph.path for graph in contract.graphs} | set(contract.calibration if recipe.precision == "int8" else ())
    heavy = [path for path in contract.files if path in parts or PurePosixPath(path).suffix in _WEIGHTS]
    text = contract.observation.text
    small = (text.tokenizer if text else None, contract.statistics)
    options = {name: value for name, value in release.overrides.items() if name.startswith(f"{identity.name}_")}
    return {
        "components": {path: str(contract.files[path]) for path in heavy},
        "preprocessing": {
            "observation": asdict(contract.observation),
            "files": {path: str(contract.files[path]) for path in small if path},
        },
        "graphs": {
            "graphs": [asdict(graph) for graph in contract.graphs],
            "loop": contract.loop and asdict(contract.loop),
            "output": asdict(contract.output),
            "action": asdict(contract.action),
        },
        "recipe": {
            "precision": recipe.precision,
            "inference_p99_ms": recipe.inference_p99_ms,
            "peak_memory_bytes": recipe.peak_memory_bytes,
            "options": options,
        },
        "backend": {"name": identity.name, "versions": identity.versions, "precision": identity.precision},
        "conversion": {
            "code": CONVERSION,
            "onnx": None if recipe.precision == "fp32" else _version("onnx"),
            "onnxruntime": _version("onnxruntime") if recipe.precision == "int8" else None,  # chooses the scales
        },
        "device": {"cpu": cpu_identity(), "gpu": identity.device, "power_mode": power_mode()},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def engine_key(fields: dict[str, object]) -> str:
    """The name of the engine's folder: 64 hex characters."""
    return Digest.of(dump(fields)).hex
