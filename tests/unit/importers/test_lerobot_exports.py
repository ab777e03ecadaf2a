"""LeRobot's own policies, with random weights, as ONNX graphs: what comes out is what LeRobot computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("lerobot", reason="LeRobot is not installed: run make test-torch")

from safetensors.torch import load_file, save_file

from model_registry.core.errors import HomeportError
from stack.importers.lerobot import export, goldens, loading
from stack.importers.lerobot.directory import CONFIG, WEIGHTS
from tests.fakes import lerobot_policies
from tests.fakes.exported import worst_parity

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

KINDS = ("act", "diffusion", "smolvla")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a deeper decoder that normalises first": ("act", {"pre_norm": True, "n_decoder_layers": 2}),
    "one small frame, an eye a camera, and actions told at once": (
        "diffusion",
        {
            "n_obs_steps": 1,
            "resize_shape": (72, 88),
            "crop_ratio": 0.9,
            "use_separate_rgb_encoder_per_camera": True,
            "use_group_norm": False,
            "prediction_type": "sample",
            "clip_sample": False,
            "num_inference_steps": None,
            "num_train_timesteps": 20,
        },
    ),
    "a shallow expert, tokens around images, and a camera that is never there": (
        "smolvla",
        {
            "num_expert_layers": 2,
            "self_attn_every_n_layers": -1,
            "add_image_special_tokens": True,
            "empty_cameras": 1,
            "prefix_length": 48,
            "pad_language_to": "max_length",
            "num_steps": 3,
        },
    ),
    "an expert that looks at itself in every layer, and small images": (
        "smolvla",
        {"attention_mode": "self_attn", "resize_imgs_with_padding": (32, 32), "n_obs_steps": 2},
    ),
}
LARGEST_DIFFERENCE = 1e-4
"""Of the range of each dimension."""
LEAST_INFLUENCE = 1e-2


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Kind and mode -> a loaded policy; each is made once."""

    @cache
    def load(kind: str, mode: str = "mean_std") -> loading.LoadedPolicy:
        folder = tmp_path_factory.mktemp("lerobot") / kind
        return loading.load(lerobot_policies.MAKERS[kind](folder, mode))

    return load


@pytest.fixture(scope="module")
def exports(policies: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Kind -> what was exported, and the folder with its graphs. Statistics change no graph, so once is enough."""

    @cache
    def made(kind: str) -> tuple[export.Exported, Path]:
        folder = tmp_path_factory.mktemp(f"onnx-{kind}")
        return export.export(policies(kind), folder), folder

    return made


@pytest.mark.parametrize("mode", lerobot_policies.MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_graphs_give_the_actions_of_lerobot(kind: str, mode: str, policies: Any, exports: Any) -> None:
    policy = policies(kind, mode)
    exported, folder = exports(kind)
    seen = goldens.observations(policy, 20, seed=1, texts=lerobot_policies.TEXTS)
    worst = worst_parity(policy, exported, folder, seen)
    print(f"{kind} {mode}: {worst:.1e} of the range of its dimension")
    assert worst <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_settings_of_a_policy_are_exported_as_well(variant: str, tmp_path: Path) -> None:
    kind, settings = VARIANTS[variant]
    policy = loading.load(lerobot_policies.MAKERS[kind](tmp_path / kind, **settings))
    folder = tmp_path / "onnx"
    folder.mkdir()
    exported = export.export(policy, folder)
    seen = goldens.observations(policy, 5, seed=2, texts=lerobot_policies.TEXTS)
    worst = worst_parity(policy, exported, folder, seen)
    print(f"{kind}, {variant}: {worst:.1e} of the range of its dimension")
    assert worst <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("kind", KINDS)
def test_every_observation_moves_the_actions_of_a_golden(kind: str, policies: Any) -> None:
    """Else parity would prove nothing about it."""
    policy = policies(kind)
    first, second = goldens.observations(policy, 2, seed=1, texts=lerobot_policies.TEXTS)
    wanted = goldens.actions(policy, first)
    spread = np.ptp(np.concatenate([wanted, goldens.actions(policy, second)]), axis=0)
    for name, other in changed(first, second, words=kind == "smolvla"):
        moved = np.abs(goldens.actions(policy, other) - wanted).max(0) / spread
        assert moved.max() > LEAST_INFLUENCE, name


def changed(
    first: goldens.RawObservation, second: goldens.RawObservation, *, words: bool
) -> Iterator[tuple[str, goldens.RawObservation]]:
    """The first observation with one thing after the other from the second."""
    for camera, frames in second.frames.items():
        for number in range(len(frames)):
            pictures = first.frames[camera].copy()
            pictures[number] = frames[number]
            yield f"{camera} {number}", replace(first, frames={**first.frames, camera: pictures})
    for number in range(len(second.state)):
        state = first.state.copy()
        state[number] = second.state[number]
        yield f"state {number}", replace(first, state=state)
    if first.noise is not None:
        yield "noise", replace(first, noise=second.noise)
    if words:
        yield "text", replace(first, text=second.text)


@pytest.mark.parametrize("kind", KINDS)
def test_goldens_are_the_same_for_the_same_seed_and_in_units(kind: str, policies: Any) -> None:
    policy = policies(kind)
    first, again = (goldens.observations(policy, 1, seed=5)[0] for _ in range(2))
    assert all(np.array_equal(first.frames[name], again.frames[name]) for name in first.frames)
    assert np.array_equal(goldens.actions(policy, first), goldens.actions(policy, again))
    assert {frames.dtype.name for frames in first.frames.values()} == {"uint8"}
    assert np.abs(first.state).max() > 10  # degrees


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_say_what_they_read_and_carry_no_trace_of_this_machine(kind: str, exports: Any) -> None:
    exported, folder = exports(kind)
    for graph in exported.graphs:
        model = onnx.load(folder / graph.path)
        assert ends(model.graph.input) == list(graph.inputs)
        assert ends(model.graph.output) == list(graph.outputs)
        assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
        assert b"site-packages" not in (folder / graph.path).read_bytes()


def ends(values: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, element type and shape of the inputs or outputs of a graph."""
    found = []
    for value in values:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        found.append((value.name, dtype, tuple(axis.dim_value for axis in tensor.shape.dim)))
    return found


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """LeRobot goes on with random numbers in place of what is missing."""
    folder = lerobot_policies.make_act(tmp_path / "act")
    weights = load_file(folder / WEIGHTS)
    head = weights.pop("model.action_head.bias")
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(HomeportError, match=r"lacks 1 tensors of the policy, such as model\.action_head\.bias"):
        loading.load(folder)
    save_file(weights | {"model.action_head.bias": head[:-1]}, folder / WEIGHTS)
    with pytest.raises(HomeportError, match=r"model\.safetensors: does not fit its config\.json"):
        loading.load(folder)
    (folder / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(HomeportError, match=r"model\.safetensors: does not fit its config\.json"):
        loading.load(folder)


def test_a_policy_that_this_lerobot_cannot_make_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = lerobot_policies.make_smolvla(tmp_path / "smolvla")
    rewrite(folder / CONFIG, vlm_model_name=str(tmp_path / "gone"))
    with pytest.raises(HomeportError, match=r"check that .*gone, which config\.json names, is") as refused:
        loading.load(folder)
    assert "\n" not in str(refused.value)
    rewrite(folder / CONFIG, vlm_model_name=str(tmp_path / "smolvla-vlm"), of_a_later_version=True)
    with pytest.raises(HomeportError, match="use the version that trained it"):
        loading.load(folder)


def test_weights_that_were_trained_with_ddpm_run_with_ddim(tmp_path: Path) -> None:
    folder = lerobot_policies.make_diffusion(tmp_path / "diffusion", noise_scheduler_type="DDPM")
    with pytest.raises(HomeportError, match="noise_scheduler_type DDPM draws new noise in every step"):
        loading.load(folder)
    rewrite(folder / CONFIG, noise_scheduler_type="DDIM", num_inference_steps=10)
    policy = loading.load(folder)
    (seen,) = goldens.observations(policy, 1, seed=1)
    assert np.isfinite(goldens.actions(policy, seen)).all()


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
