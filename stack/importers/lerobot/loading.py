"""LeRobot's own policy and pipelines of a directory, on the CPU and in float32.

policy = load(Path("outputs/train/checkpoints/last/pretrained_model"))
policy.policy, policy.preprocessor, policy.postprocessor      LeRobot's objects
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from draccus.utils import ParsingError
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from safetensors import SafetensorError
from safetensors.torch import load_model

from model_registry.core.errors import HomeportError, UsageError
from stack.importers.lerobot.directory import POSTPROCESSOR, PREPROCESSOR, WEIGHTS, PolicyDirectory

log = logging.getLogger(__name__)

_NOT_TO_BE_FETCHED = {"pretrained_backbone_weights": None, "load_vlm_weights": False, "compile_model": False}
"""Settings that would fetch weights which the directory has anyway, or compile what is exported."""
_CPU = {"device_processor": {"device": "cpu"}}


@dataclass(frozen=True)
class LoadedPolicy:
    """LeRobot's objects for one directory: `policy` in evaluation mode, and both pipelines."""

    directory: PolicyDirectory
    policy: PreTrainedPolicy
    preprocessor: PolicyProcessorPipeline
    postprocessor: PolicyProcessorPipeline

    @property
    def config(self) -> PreTrainedConfig:
        return self.policy.config

    @property
    def dims(self) -> int:
        """How many numbers an action has."""
        return int(self.config.action_feature.shape[0])

    @property
    def state_width(self) -> int:
        return int(self.config.robot_state_feature.shape[0])

    def image_shape(self, camera: str) -> tuple[int, int, int]:
        """[channels, height, width] of a camera of the contract, as config.json says."""
        channels, height, width = self.config.image_features[self.directory.cameras[camera]].shape
        return int(channels), int(height), int(width)


def load(path: Path) -> LoadedPolicy:
    """Read a policy directory. Raises HomeportError, naming the file."""
    directory = PolicyDirectory.read(path)
    with contextlib.redirect_stdout(sys.stderr):  # LeRobot prints, and stdout is the result of a command
        policy = _policy(directory)
        preprocessor = _pipeline(directory, PREPROCESSOR)
        postprocessor = _pipeline(
            directory, POSTPROCESSOR, to_transition=policy_action_to_transition, to_output=transition_to_policy_action
        )
    return LoadedPolicy(directory, policy, preprocessor, postprocessor)


def _policy(directory: PolicyDirectory) -> PreTrainedPolicy:
    path = directory.path
    try:
        config = PreTrainedConfig.from_pretrained(path)
        config.device = "cpu"
        for name in _NOT_TO_BE_FETCHED.keys() & vars(config).keys():
            setattr(config, name, _NOT_TO_BE_FETCHED[name])
        policy = get_policy_class(directory.type)(config)
    except (OSError, ParsingError, RuntimeError, TypeError, ValueError) as error:
        named = directory.config.get("vlm_model_name")
        here = (
            f", and check that {named}, which config.json names, is a folder here or in the hub's cache"
            if named
            else ""
        )
        raise UsageError(
            f"{path}: this LeRobot cannot make the policy ({_first_line(error)}); use the version that trained it{here}"
        ) from error
    _fill(policy, path / WEIGHTS)
    return policy.to(torch.float32).eval()


def _fill(policy: PreTrainedPolicy, weights: Path) -> None:
    """LeRobot itself goes on when tensors are missing, with random numbers in their place."""
    try:
        missing, unexpected = load_model(policy, weights, strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{weights}: does not fit its config.json ({_first_line(error)}); copy both again") from error
    if missing:
        raise UsageError(
            f"{weights}: lacks {len(missing)} tensors of the policy, such as {sorted(missing)[0]}; use the LeRobot "
            "that trained it, or copy the file again"
        )
    if unexpected:
        log.warning("%s: %d tensors are not used, such as %s", weights, len(unexpected), sorted(unexpected)[0])


def _pipeline(directory: PolicyDirectory, name: str, **converters: Callable[..., object]) -> PolicyProcessorPipeline:
    steps = directory.preprocessor if name == PREPROCESSOR else directory.postprocessor
    overrides = {step: settings for step, settings in _CPU.items() if step in steps}
    try:
        return PolicyProcessorPipeline.from_pretrained(
            directory.path, config_filename=name, overrides=overrides, **converters
        )
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, ImportError, SafetensorError) as error:
        raise HomeportError(
            f"{directory.path / name}: this LeRobot cannot load it ({_first_line(error)}); use the version that "
            "trained the policy, and check that the tokenizer it names is there"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:400]
