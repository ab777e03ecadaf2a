"""What is refused of a LeRobot policy directory, in one sentence, before PyTorch or LeRobot are asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.errors import HomeportError
from stack.importers.lerobot.directory import PolicyDirectory, camera_name

Documents = dict[str, Any]


def documents(kind: str = "act") -> Documents:
    """The JSON of a directory as LeRobot 0.4 and 0.6 write it, as far as it is read here."""
    config = {
        "type": kind,
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [6]},
            "observation.images.front": {"type": "VISUAL", "shape": [3, 96, 128]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [6]}},
        "use_peft": False,
        "temporal_ensemble_coeff": None,
        "noise_scheduler_type": "DDIM",
        "rtc_config": None,
        "adapt_to_pi_aloha": False,
    }
    before = ["rename_observations_processor", "to_batch_processor", "device_processor", "normalizer_processor"]
    after = ["unnormalizer_processor", "device_processor"]
    return {
        "config.json": config,
        "policy_preprocessor.json": {"steps": [{"registry_name": name, "config": {}} for name in before]},
        "policy_postprocessor.json": {"steps": [{"registry_name": name, "config": {}} for name in after]},
    }


def save(folder: Path, written: Documents) -> Path:
    for name, document in written.items():
        (folder / name).write_text(json.dumps(document))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize("kind", ["act", "diffusion", "smolvla"])
def test_a_directory_tells_its_type_and_cameras(kind: str, tmp_path: Path) -> None:
    written = documents(kind)
    written["config.json"]["input_features"]["observation.images.empty_camera_0"] = {
        "type": "VISUAL",
        "shape": [3, 480, 640],
    }
    written["policy_preprocessor.json"]["steps"][0]["config"] = {"rename_map": {"top": "observation.images.front"}}
    found = PolicyDirectory.read(save(tmp_path, written))
    assert found.type == kind
    assert found.cameras == {"front": "observation.images.front"}
    assert found.renamed == {"observation.images.front": "top"}


def env(written: Documents) -> None:
    feature = {"type": "ENV", "shape": [4]}
    written["config.json"]["input_features"]["observation.environment_state"] = feature


def blind(written: Documents) -> None:
    del written["config.json"]["input_features"]["observation.images.front"]


def stateless(written: Documents) -> None:
    del written["config.json"]["input_features"]["observation.state"]


def alike(written: Documents) -> None:
    feature = {"type": "VISUAL", "shape": [3, 96, 128]}
    written["config.json"]["input_features"] |= {"observation.images.a.b": feature, "observation.images.a_b": feature}


def step(written: Documents) -> None:
    written["policy_preprocessor.json"]["steps"].append({"registry_name": "relative_actions_processor"})


def module(written: Documents) -> None:
    written["policy_postprocessor.json"]["steps"].append({"class": "somebody.Step", "config": {}})


def setting(name: str, value: object) -> Callable[[Documents], None]:
    def change(written: Documents) -> None:
        written["config.json"][name] = value

    return change


REFUSED = [
    ("pi0", setting("type", "pi0"), "a policy of type 'pi0' cannot be exported, only act, diffusion, smolvla; export"),
    ("act", env, "input_features.observation.environment_state of type ENV is nothing that a robot observes"),
    ("act", blind, "has no camera"),
    ("act", stateless, "has no observation.state"),
    ("act", alike, "two cameras have names that differ only in punctuation"),
    ("act", step, "the step 'relative_actions_processor' is not known here"),
    ("act", module, "the step 'somebody.Step' is not known here"),
    ("act", setting("temporal_ensemble_coeff", 0.01), "temporal_ensemble_coeff averages"),
    ("act", setting("use_peft", True), "merge it into its policy"),
    ("act", setting("output_features", {"a": {}, "action": {}}), "output_features must be action alone"),
    ("diffusion", setting("noise_scheduler_type", "DDPM"), "noise_scheduler_type DDPM draws new noise in every step"),
    ("smolvla", setting("rtc_config", {"enabled": True}), "set rtc_config to null"),
    ("smolvla", setting("adapt_to_pi_aloha", True), "adapt_to_pi_aloha"),
]


@pytest.mark.parametrize(("kind", "change", "said"), REFUSED, ids=[said[:40] for _, _, said in REFUSED])
def test_what_cannot_be_exported_is_refused_by_name_in_one_sentence(
    kind: str, change: Callable[[Documents], None], said: str, tmp_path: Path
) -> None:
    written = documents(kind)
    change(written)
    with pytest.raises(HomeportError) as refused:
        PolicyDirectory.read(save(tmp_path, written))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_one_that_is_no_json_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path, documents())
    (folder / "model.safetensors").unlink()
    with pytest.raises(HomeportError, match=r"no model\.safetensors"):
        PolicyDirectory.read(folder)
    (folder / "policy_postprocessor.json").write_text("{")
    with pytest.raises(HomeportError, match=r"policy_postprocessor\.json: is not JSON"):
        PolicyDirectory.read(folder)
    (folder / "policy_preprocessor.json").unlink()
    with pytest.raises(HomeportError, match=r"policy_preprocessor\.json: cannot be read .* migrated with LeRobot"):
        PolicyDirectory.read(folder)


def test_names_of_cameras_follow_their_features() -> None:
    names = {
        "observation.images.front": "front",
        "observation.image": "image",
        "observation.images.left.wrist": "left_wrist",
        "observation.images.0": "camera_0",
    }
    assert {feature: camera_name(feature) for feature in names} == names
