"""From a LeRobot policy directory to a packed model, by the commands that a publisher types."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from model_registry.cli.entry import run
from model_registry.core.contract import Contract
from model_registry.sources import open_source
from stack.cli import build
from stack.engine.goldens import read_goldens
from stack.engine.packed import packed
from tests.fakes.lerobot_policies import JOINTS, TEXTS

KINDS = ("act", "diffusion", "smolvla")
MODES = {"act": ("mean_std", "min_max", "quantiles"), "diffusion": ("min_max",), "smolvla": ("mean_std", "quantiles")}
NAMES = [f"joint{number}" for number in range(JOINTS)]
INFO = {"fps": 8, "features": {name: {"names": NAMES} for name in ("observation.state", "action")}}
"""meta/info.json of a dataset, as far as it is read."""
GOLDENS = 20


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
    (folder.parent / "info.json").write_text(json.dumps(INFO))
    out = ("--out", str(folder))
    typed("model", "init", str(directory), *out, "--name", "lab/arm", "--dataset", str(folder.parent / "info.json"))
    answered(folder)
    words = [word for text in TEXTS for word in ("--text", text)] if "smolvla" in directory.name else []
    typed("model", "export", str(directory), *out, "--goldens", str(GOLDENS), *words)
    typed("model", "check", str(folder))
    typed("model", "pack", str(folder), "--source", f"oci:{registry}")
    return 4


def worst_parity(model: Path, contract: Contract) -> float:
    """The largest difference from LeRobot's own chunks, as a part of what each dimension ranges over."""
    inference = packed(model, contract)
    samples = read_goldens(model, contract, "fp32")
    assert len(samples) == GOLDENS
    actions = np.stack([sample.action for sample in samples])
    spread = np.ptp(actions.reshape(-1, actions.shape[-1]), axis=0)
    ours = np.stack([inference(sample.seen).actions for sample in samples])
    return float(np.max(np.abs(ours - actions).max(axis=(0, 1)) / spread))


def pulled(folder: Path) -> tuple[str, ...]:
    """Reference and source of the packed model."""
    source = f"oci:{folder / 'registry'}"
    digest = open_source(source).find("lab/arm", "1.0.0")
    return f"lab/arm@{digest}", "--source", source
