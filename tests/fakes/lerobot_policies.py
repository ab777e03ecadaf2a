"""Small LeRobot checkpoints with random weights, made and saved by LeRobot's own code: no hub, no training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from transformers import PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

torch.set_num_threads(1)  # a second one costs more than it gives on networks this small
MODES = ("mean_std", "min_max", "quantiles")
JOINTS = 6
STATE = "observation.state"
CAMERAS = {"observation.images.front": (3, 96, 128), "observation.images.wrist": (3, 96, 128)}
SIDE = 64
GAIN = 1.3
TEXTS = ("touch the red cube", "touch the green cube", "put the blue cube in the bowl", "stop")
_QUANTILES = ("q01", "q10", "q50", "q90", "q99")


def statistics(seed: int = 7, cameras: dict[str, tuple[int, int, int]] | None = None) -> dict[str, dict[str, Any]]:
    """As a dataset's: no dimension like another, in degrees and percent, and one that never moved."""
    generator = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    for name in (STATE, "action"):
        samples = generator.normal(
            generator.uniform(-40, 40, JOINTS), generator.uniform(0.5, 30, JOINTS), (500, JOINTS)
        )
        samples[:, -1] = np.abs(samples[:, -1]) % 100
        quantiles = {key: np.quantile(samples, int(key[1:]) / 100, axis=0) for key in _QUANTILES}
        found[name] = {
            "mean": samples.mean(0),
            "std": samples.std(0),
            "min": samples.min(0),
            "max": samples.max(0),
            **quantiles,
        }
        found[name] = {key: numbers.astype(np.float32) for key, numbers in found[name].items()}
    for name in cameras or CAMERAS:
        mean = np.array([0.48, 0.45, 0.41], np.float32).reshape(3, 1, 1)
        std = np.array([0.23, 0.22, 0.25], np.float32).reshape(3, 1, 1)
        found[name] = {"mean": mean, "std": std, "min": mean * 0, "max": mean * 0 + 1}
        found[name] |= {"q01": mean * 0.05, "q99": mean * 0 + 0.97}
    return found


def make_act(folder: Path, mode: str = "mean_std", **settings: Any) -> Path:
    """Two cameras 96 x 128, six joints, sixteen actions."""
    wanted = {
        "pretrained_backbone_weights": None,
        "chunk_size": 16,
        "n_action_steps": 8,
        "dim_model": 64,
        "n_heads": 4,
        "dim_feedforward": 96,
        "n_encoder_layers": 2,
        "latent_dim": 8,
    }
    return save(ACTConfig(**_common(mode, "mean_std"), **(wanted | settings)), folder)


def save(config: Any, folder: Path) -> Path:
    """Make the policy with random weights and write everything that `lerobot-train` writes for one."""
    torch.manual_seed(3)
    policy = get_policy_class(config.type)(config).eval()
    if config.type == "smolvla":
        _liven(policy)
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(config, dataset_stats=statistics(cameras=_shapes(config))):
        pipeline.save_pretrained(folder)
    return folder


def _liven(policy: torch.nn.Module) -> None:
    """Weights so large that actions depend on what is seen: a new language model's are nearly 0."""
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, GAIN / math.sqrt(parameter[0].numel()))


def _shapes(config: Any) -> dict[str, tuple[int, int, int]]:
    return {name: feature.shape for name, feature in config.image_features.items()}


def _common(numbers: str, images: str) -> dict[str, Any]:
    """What the settings of every policy have: what is seen, how it is normalised, on which device."""
    seen = {name: PolicyFeature(FeatureType.VISUAL, shape) for name, shape in CAMERAS.items()}
    kind = NormalizationMode[numbers.upper()]
    return {
        "input_features": {STATE: PolicyFeature(FeatureType.STATE, (JOINTS,)), **seen},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        "normalization_mapping": {"VISUAL": NormalizationMode[images.upper()], "STATE": kind, "ACTION": kind},
        "device": "cpu",
    }


def make_vlm(folder: Path) -> Path:
    """A tiny vision-language model's settings, tokenizer and processor: what SmolVLA names and does not store."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Split(" ", "removed"), tokenizers.pre_tokenizers.Split("\n", "isolated")]
    )
    named = {
        "fake_image_token": "<fake_token_around_image>",
        "image_token": "<image>",
        "global_image_token": "<global-img>",
    }
    specials = ["<pad>", "<unk>", "<end_of_utterance>", *named.values()]
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([f"{text}\n" for text in TEXTS], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<end_of_utterance>",
        extra_special_tokens=named,
    )
    image = {"do_resize": False, "size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}}
    processor = SmolVLMProcessor(SmolVLMImageProcessor(**image), fast, SmolVLMVideoProcessor(**image))
    config = SmolVLMConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 16,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "vocab_size": fast.vocab_size + 8,
            "pad_token_id": 0,
        },
        scale_factor=2,
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    return folder


def make_smolvla(folder: Path, mode: str = "mean_std", **settings: Any) -> Path:
    """Two cameras of another shape than the square that is wanted, six joints of 32 columns, sixteen actions."""
    wanted = {
        "chunk_size": 16,
        "n_action_steps": 8,
        "resize_imgs_with_padding": (SIDE, SIDE),
        "vlm_model_name": str(make_vlm(folder.with_name(f"{folder.name}-vlm"))),
        "num_vlm_layers": 4,
        "num_steps": 10,
        "tokenizer_max_length": 16,
    }
    return save(SmolVLAConfig(**_common(mode, "identity"), **(wanted | settings)), folder)


def make_diffusion(folder: Path, mode: str = "min_max", **settings: Any) -> Path:
    """Two frames of two cameras, cut to their middle, and six joints; ten steps of DDIM."""
    wanted = {
        "n_obs_steps": 2,
        "horizon": 16,
        "n_action_steps": 8,
        "crop_shape": (84, 112),
        "pretrained_backbone_weights": None,
        "use_group_norm": True,
        "use_separate_rgb_encoder_per_camera": False,
        "spatial_softmax_num_keypoints": 16,
        "down_dims": (32, 64),
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 10,
    }
    return save(DiffusionConfig(**_common(mode, "mean_std"), **(wanted | settings)), folder)


MAKERS = {"act": make_act, "diffusion": make_diffusion, "smolvla": make_smolvla}
