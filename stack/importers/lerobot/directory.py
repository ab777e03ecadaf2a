"""The JSON of a LeRobot policy directory: config.json and both pipelines, and whether it can be exported at all.

Nothing here needs PyTorch or LeRobot. Steps of a pipeline are looked up in a list of known ones before LeRobot sees
them, since it would import whatever module a pipeline names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_registry.core.errors import IncompatibleError, NotFoundError, UsageError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"
TYPES = ("act", "diffusion", "smolvla")
STEPS = {
    PREPROCESSOR: (
        "rename_observations_processor",
        "to_batch_processor",
        "device_processor",
        "normalizer_processor",
        "smolvla_new_line_processor",
        "tokenizer_processor",
    ),
    POSTPROCESSOR: ("unnormalizer_processor", "device_processor"),
}
"""The steps of each pipeline that Homeport's own preparation knows."""
STATE = "observation.state"
ACTION = "action"
INSTEAD = (
    "export it to ONNX yourself and run `homeport model init` with the files, or wait for the backend that runs a "
    "policy in a server of its own"
)
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]+")
_LARGEST_JSON = 4 << 20


@dataclass(frozen=True)
class PolicyDirectory:
    """The documents of a directory; `cameras` are the image features by the name that the contract gives them."""

    path: Path
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Mapping[str, Any]]
    postprocessor: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> PolicyDirectory:
        """Raises NotFoundError, UsageError or IncompatibleError, in one sentence that names the field."""
        config = _document(path / CONFIG)
        kind = config.get("type")
        if kind not in TYPES:
            raise IncompatibleError(
                f"{path}: a policy of type {kind!r} cannot be exported, only {', '.join(TYPES)}; {INSTEAD}"[:900]
            )
        made = cls(path, config, _steps(path, PREPROCESSOR), _steps(path, POSTPROCESSOR))
        if not (path / WEIGHTS).is_file():
            raise NotFoundError(f"{path}: no {WEIGHTS}; save the policy with save_pretrained")
        made._check_features()
        _CHECKS[kind](made)
        return made

    @property
    def type(self) -> str:
        return str(self.config["type"])

    @property
    def cameras(self) -> dict[str, str]:
        """Name of each camera in the contract -> its feature. Cameras that the policy only pads with are left out."""
        features = [key for key, feature in self._inputs.items() if feature.get("type") == "VISUAL"]
        return {camera_name(key): key for key in features if not _is_padding(key)}

    @property
    def renamed(self) -> dict[str, str]:
        """Feature of the policy -> what the robot calls it, for those that the first step renames."""
        names = self.preprocessor.get("rename_observations_processor", {}).get("rename_map") or {}
        return {new: old for old, new in names.items()}

    @property
    def _inputs(self) -> Mapping[str, Mapping[str, Any]]:
        inputs = self.config.get("input_features")
        return inputs if isinstance(inputs, dict) else {}

    def refuse(self, why: str) -> IncompatibleError:
        return IncompatibleError(f"{self.path / CONFIG}: {why}"[:900])

    def _check_features(self) -> None:
        if self.config.get("use_peft"):
            raise self.refuse("use_peft: the weights are an adapter; merge it into its policy and save that")
        kinds = {key: feature.get("type") for key, feature in self._inputs.items()}
        if strange := [key for key, kind in kinds.items() if kind not in ("VISUAL", "STATE") or _is_odd(key, kind)]:
            raise self.refuse(
                f"input_features.{strange[0]} of type {kinds[strange[0]]} is nothing that a robot observes; cameras "
                f"and {STATE} are; train a policy without it"
            )
        if STATE not in kinds:
            raise self.refuse(f"input_features has no {STATE}, which LeRobot's {self.type} needs; train it with one")
        if not self.cameras:
            raise self.refuse(f"input_features has no camera, which LeRobot's {self.type} needs; train it with one")
        if len(self.cameras) != len([key for key, kind in kinds.items() if kind == "VISUAL" and not _is_padding(key)]):
            raise self.refuse("two cameras have names that differ only in punctuation; rename one of them")
        if list(self.config.get("output_features") or ()) != [ACTION]:
            raise self.refuse(f"output_features must be {ACTION} alone; {INSTEAD}")


def camera_name(feature: str) -> str:
    """observation.images.front -> front; observation.image -> image; what is no letter or digit becomes _."""
    bare = feature.removeprefix("observation.").removeprefix("images.")
    name = _NOT_A_NAME.sub("_", bare)
    return name if name[:1].isalpha() else f"camera_{name}"


def _is_padding(feature: str) -> bool:
    """Cameras that SmolVLA adds by itself, never filled and always masked."""
    return ".empty_camera_" in feature


def _is_odd(feature: str, kind: object) -> bool:
    return kind == "STATE" and feature != STATE


def _document(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path}: cannot be read ({error.strerror}); give the directory that LeRobot's save_pretrained wrote, with "
            f"{CONFIG}, {PREPROCESSOR} and {POSTPROCESSOR}; one from before 0.4 has to be migrated with LeRobot first"
        ) from error
    try:
        document = json.loads(data[: _LARGEST_JSON + 1]) if len(data) <= _LARGEST_JSON else None
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error}); copy the directory again") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected a JSON object of at most {_LARGEST_JSON} bytes; copy the directory again")
    return document


def _steps(path: Path, name: str) -> dict[str, Mapping[str, Any]]:
    """The settings of each step by its name."""
    found: dict[str, Mapping[str, Any]] = {}
    steps = _document(path / name).get("steps")
    for item in steps if isinstance(steps, list) else [None]:
        step = item if isinstance(item, dict) else {}
        step_name = step.get("registry_name", step.get("class"))
        if step_name not in STEPS[name]:
            raise IncompatibleError(
                f"{path / name}: the step {step_name!r} is not known here, only {', '.join(STEPS[name])}; {INSTEAD}"[
                    :900
                ]
            )
        found[step_name] = step.get("config") or {}
    return found


def _check_act(found: PolicyDirectory) -> None:
    if found.config.get("temporal_ensemble_coeff") is not None:
        raise found.refuse(
            "temporal_ensemble_coeff averages the actions of many inferences, which a release cannot express; set it "
            "to null and n_action_steps to how many actions of a chunk are to be executed"
        )


def _check_diffusion(found: PolicyDirectory) -> None:
    kind = found.config.get("noise_scheduler_type")
    if kind != "DDIM":
        raise found.refuse(
            f"noise_scheduler_type {kind} draws new noise in every step, so that no golden can be told; the same "
            'weights run with "DDIM": set it, and num_inference_steps to about 10, and evaluate the policy again'
        )


def _check_smolvla(found: PolicyDirectory) -> None:
    rtc = found.config.get("rtc_config")
    if isinstance(rtc, dict) and rtc.get("enabled"):
        raise found.refuse("rtc_config needs gradients at run time, which no graph has; set rtc_config to null")
    if found.config.get("adapt_to_pi_aloha"):
        raise found.refuse(f"adapt_to_pi_aloha turns joints and grippers inside the policy; {INSTEAD}")


_CHECKS = {"act": _check_act, "diffusion": _check_diffusion, "smolvla": _check_smolvla}
