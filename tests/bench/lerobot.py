"""LeRobot's policies by a publisher's commands: how many there are, and how near the answers are to LeRobot's own.

ACT, Diffusion and SmolVLA with random weights, made by LeRobot's own code, in each normalisation that they are trained
with: a directory is drafted, exported, checked and packed, and pulled as a robot does. `worst_parity` is the largest
difference of an action from LeRobot's chunk over 20 observations, as a part of what its dimension ranges over. It runs
where LeRobot is installed: `.venv-torch/bin/python -m tests.bench.lerobot`.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

from tests.bench.harness import FRESH, Noise, Trials, report

BENCH = "lerobot"


def main() -> int:
    if importlib.util.find_spec("lerobot") is None:
        print("not run: LeRobot is not installed here; run make test-torch, which makes .venv-torch", file=sys.stderr)
        report(BENCH, {}, {}, Noise(), ran=False)
        return 0
    from model_registry.core.contract import Contract
    from tests.fakes import lerobot_policies
    from tests.testbed.lerobot_door import MODES, by_commands, pulled, typed, worst_parity

    trials = Trials(BENCH, fresh=FRESH)
    worst: dict[str, float] = {}
    commands = 0
    with trials.noise(), tempfile.TemporaryDirectory() as name:
        for kind, mode in ((kind, mode) for kind, modes in MODES.items() for mode in modes):
            folder = Path(name) / f"{kind}-{mode}"
            directory = lerobot_policies.MAKERS[kind](folder / kind, mode)
            commands = max(commands, 1 + by_commands(directory, folder / "model", folder / "registry"))
            typed("model", "pull", *pulled(folder), "--to", str(folder / "models"))
            [model] = [path for path in (folder / "models").iterdir() if path.is_dir()]
            worst[f"{kind}_{mode}"] = float(f"{worst_parity(model, Contract.load(model)):.1e}")
    figures = {"policies": len(worst), "worst_parity": max(worst.values()), "commands": commands}
    trials.report({BENCH: figures, "each": worst}, {})
    return int(max(worst.values()) > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
