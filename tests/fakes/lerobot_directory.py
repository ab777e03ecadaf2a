"""LeRobot policy directories as its versions 0.4 and 0.6 write them, without LeRobot and without weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

JOINTS = 6
CAMERAS = ("front", "wrist")
Tensors = Mapping[str, tuple[Sequence[int], Sequence[float]]]
"""Name → shape and numbers."""
_FEATURES = {
    "act": {"chunk_size": 16, "n_action_steps": 8, "n_obs_steps": 1, "temporal_ensemble_coeff": None},
    "diffusion": {"horizon": 16, "n_action_steps": 8, "n_obs_steps": 2, "noise_scheduler_type": "DDIM"},
    "smolvla": {
        "chunk_size": 16,
        "n_action_steps": 8,
        "n_obs_steps": 1,
        "max_state_dim": 32,
        "max_action_dim": 32,
        "resize_imgs_with_padding": [64, 48],
        "rtc_config": None,
        "adapt_to_pi_aloha": False,
    },
}
MODES = {
    "act": {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
    "diffusion": {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"},
    "smolvla": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "QUANTILES"},
}


def safetensors(tensors: Tensors, **metadata: str) -> bytes:
    """A file of float32 tensors."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, (shape, numbers) in tensors.items():
        data = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def statistics() -> dict[str, tuple[list[int], list[float]]]:
    """As a dataset's: a row for each joint, and one number a channel."""
    made: dict[str, tuple[list[int], list[float]]] = {}
    kinds = {"mean": 0.5, "std": 2.0, "min": -90.0, "max": 90.0, "q01": -80.0, "q10": -60.0, "q90": 65.0, "q99": 85.0}
    for number, feature in enumerate(("observation.state", "action")):
        for kind, value in kinds.items():
            made[f"{feature}.{kind}"] = ([JOINTS], [value + number + 0.1 * joint for joint in range(JOINTS)])
    for camera in CAMERAS:
        for kind, value in {"mean": 0.48, "std": 0.22, "min": 0.0, "max": 1.0}.items():
            made[f"observation.images.{camera}.{kind}"] = ([3, 1, 1], [value] * 3)
    return made


def documents(kind: str) -> dict[str, Any]:
    """The JSON files by their names; change them and give them to `write`."""
    modes = MODES[kind]
    state = {"type": "STATE", "shape": [JOINTS]}
    images = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 96, 128]} for name in CAMERAS}
    action = {"action": {"type": "ACTION", "shape": [JOINTS]}}
    config = {
        "type": kind,
        "input_features": {"observation.state": state, **images},
        "output_features": action,
        "normalization_mapping": modes,
        "device": "cuda",
        "use_peft": False,
        **_FEATURES[kind],
    }
    features = {"observation.state": state, **images, **action}
    normaliser = {"eps": 1e-08, "features": features, "norm_map": modes}
    before: list[dict[str, Any]] = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
    ]
    if kind == "smolvla":
        words = {"max_length": 16, "padding_side": "right", "padding": "longest", "tokenizer_name": "lab/words"}
        before.append({"registry_name": "smolvla_new_line_processor", "config": {}})
        before.append({"registry_name": "tokenizer_processor", "config": words})
    before.append({"registry_name": "device_processor", "config": {"device": "cuda", "float_dtype": None}})
    file = f"policy_preprocessor_step_{len(before)}_normalizer_processor.safetensors"
    before.append({"registry_name": "normalizer_processor", "config": normaliser, "state_file": file})
    behind = [
        {
            "registry_name": "unnormalizer_processor",
            "config": normaliser | {"features": action},
            "state_file": "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
        },
        {"registry_name": "device_processor", "config": {"device": "cpu"}},
    ]
    return {
        "config.json": config,
        "policy_preprocessor.json": {"name": "policy_preprocessor", "steps": before},
        "policy_postprocessor.json": {"name": "policy_postprocessor", "steps": behind},
    }


def write(folder: Path, written: Mapping[str, Any], tensors: Tensors | None = None) -> Path:
    """Write a directory with these documents, and statistics in every file that they name; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in written.items():
        (folder / name).write_text(json.dumps(document, indent=2))
        for step in document.get("steps", []):
            if "state_file" in step:
                (folder / step["state_file"]).write_bytes(safetensors(statistics() if tensors is None else tensors))
    (folder / "model.safetensors").write_bytes(safetensors({}))
    return folder
