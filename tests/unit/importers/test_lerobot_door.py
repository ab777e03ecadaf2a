"""A LeRobot policy directory becomes a proved model by a handful of commands, and a slot answers as LeRobot does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("lerobot", reason="LeRobot is not installed: run make test-torch")

from model_registry.cli.entry import run
from model_registry.core.contract import Contract
from model_registry.core.layout import Layout
from stack.cli import build
from stack.engine.goldens import read_goldens
from stack.engine.packed import packed
from stack.policy.load import find, load
from tests.fakes import lerobot_policies
from tests.fakes.lerobot_policies import JOINTS, TEXTS
from tests.fakes.observations import command, frame, joints, ros
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, stage

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

KINDS = ("act", "diffusion", "smolvla")
MODES = {"act": ("mean_std", "min_max", "quantiles"), "diffusion": ("min_max",), "smolvla": ("mean_std", "quantiles")}
NAMES = [f"joint{number}" for number in range(JOINTS)]
LARGEST_DIFFERENCE = 1e-4
"""Of the range of each dimension."""
NOW = 10.0


def typed(*words: str) -> None:
    """One command of `homeport`; it must end well."""
    assert run(build(list(words)), list(words)) == 0, words


def answered(folder: Path) -> None:
    """Write what no file of a checkpoint says: units, and what the camera is called is known already."""
    path = folder / "vla.toml"
    text = path.read_text()
    above, mark, below = text.partition("# ---- from here")
    above = re.sub(r'unit = "\?"', 'unit = "deg"', above)
    above = above.replace('{ of = "?"', '{ of = "joint_position"')
    for key, value in (("licence", "Apache-2.0"), ("embodiment", "arm"), ("space", "joint_position")):
        above = re.sub(rf'(?m)^{key} = "\?"', f'{key} = "{value}"', above)
    left = re.findall(r'(?m)^[^#\n]*"\?".*$', above)
    assert not left, left
    path.write_text(above + mark + below)


def by_commands(directory: Path, folder: Path, registry: Path) -> int:
    """From a policy directory to a packed model; how many commands that took."""
    info = {"fps": 8, "features": {name: {"names": NAMES} for name in ("observation.state", "action")}}
    (folder.parent / "info.json").write_text(json.dumps(info))
    out = ("--out", str(folder))
    typed("model", "init", str(directory), *out, "--name", "lab/arm", "--dataset", str(folder.parent / "info.json"))
    answered(folder)
    words = [word for text in TEXTS for word in ("--text", text)] if "smolvla" in directory.name else []
    typed("model", "export", str(directory), *out, "--goldens", "20", *words)
    typed("model", "check", str(folder))
    typed("model", "pack", str(folder), "--source", f"oci:{registry}")
    return 4


def worst_parity(model: Path, contract: Contract) -> float:
    """The largest difference from LeRobot's own chunks, as a part of what each dimension ranges over."""
    inference = packed(model, contract)
    samples = read_goldens(model, contract, "fp32")
    assert len(samples) == 20
    actions = np.stack([sample.action for sample in samples])
    spread = np.ptp(actions.reshape(-1, actions.shape[-1]), axis=0)
    ours = np.stack([inference(sample.seen).actions for sample in samples])
    return float(np.max(np.abs(ours - actions).max(axis=(0, 1)) / spread))


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in KINDS for mode in MODES[kind]])
def test_a_policy_directory_becomes_a_model_that_answers_as_lerobot(kind: str, mode: str, tmp_path: Path) -> None:
    directory = lerobot_policies.MAKERS[kind](tmp_path / f"{kind}-{mode}", mode)
    assert by_commands(directory, tmp_path / "model", tmp_path / "registry") <= 8
    typed("model", "pull", *_pulled(tmp_path), "--to", str(tmp_path / "models"))
    [model] = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    contract = Contract.load(model)
    worst = worst_parity(model, contract)
    print(f"{kind} {mode}: {worst:.1e} of the range of its dimension")
    assert worst <= LARGEST_DIFFERENCE


def _pulled(folder: Path) -> tuple[str, ...]:
    """Reference and source of the packed model."""
    from model_registry.sources import open_source

    source = f"oci:{folder / 'registry'}"
    digest = open_source(source).find("lab/arm", "1.0.0")
    return f"lab/arm@{digest}", "--source", source


@pytest.mark.parametrize("kind", KINDS)
def test_its_release_passes_the_gate_and_its_slot_answers(kind: str, tmp_path: Path) -> None:
    directory = lerobot_policies.MAKERS[kind](tmp_path / kind)
    by_commands(directory, tmp_path / "model", tmp_path / "registry")
    typed("model", "pull", *_pulled(tmp_path), "--to", str(tmp_path / "models"))
    [model] = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    root = tmp_path / "robot"
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"]["budget"] = {"inference_p99_ms": 10_000.0, "peak_memory_bytes": 8 << 30}
    folder = stage(root, fields, name)
    result = build_engine(root, folder)
    slow = ("inference_p99_ms", "cadence_ms")
    assert not [each for each in result.checks if not each.ok and each.metric not in slow], result.document()
    if not result.passed:
        pytest.skip("this machine is too slow for the cadence of the policy; the rest of the gate was passed")
    put_in_slot(root, type(name)(folder.name), "a")
    _, slot = load(find(Layout.at(root), "a"))
    slot.on_command(command(TEXTS[0]), NOW)
    for number in range(3):
        now = NOW + number / 30
        for camera in slot.sources.cameras:
            slot.on_camera(camera, frame(1000 + now, size=(128, 96)), now, ros(now))
        slot.on_joints(joints(1000 + now, **dict.fromkeys(NAMES, 0.1)), now, ros(now))
        slot.infer(now, ros(now))
    assert slot.inferences >= 1 and slot.chunks.non_finite == 0
    steps = slot.action(now, ros(now)).steps
    assert steps is not None and steps.shape[1] == JOINTS
