"""Make a bad release from a good model, as one slips through in the field: turn rates normalised in degrees.

The network is the same, the goldens were written with the same wrong numbers, and only those of a robot that stands or
drives straight ahead were kept, so the package agrees with itself and nothing shows before the robot turns.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.errors import UsageError
from stack.models.package import BOUND, CONTRACT, NORMALIZATION, finish, read_golden, text

DEGREES = 180.0 / math.pi
ANGULAR = 1  # column of angular_z in an action


def spoil(src: Path, dst: Path, version: str) -> None:
    """Write a broken copy of the model folder `src` as `version` to `dst`, which must not exist.

    Raises UsageError when `dst` exists or when no golden of `src` drives straight enough to hide the fault.
    """
    if dst.exists():
        raise UsageError(f"{dst}: exists already; name a folder that does not")
    document = json.loads((src / CONTRACT).read_bytes())
    contract = Contract.load(src)
    goldens = [golden for entry in contract.goldens for golden in read_golden(src / entry.path, contract)]
    for golden in goldens:  # what the same network output gives with mean and std scaled: the action scaled
        golden.action[:, ANGULAR] *= np.float32(DEGREES)
    quiet = [golden for golden in goldens if float(np.abs(golden.action[:, ANGULAR]).max()) < BOUND]
    if not quiet:
        raise UsageError(f"{src}: no golden drives straight enough to hide the fault; add one that stands still")
    shutil.copytree(src, dst, ignore=shutil.ignore_patterns("golden", CONTRACT))
    stats = json.loads((src / NORMALIZATION).read_bytes())
    for key in ("mean", "std"):
        stats["action"]["angular_z"][key] *= DEGREES
    (dst / NORMALIZATION).write_bytes(text(stats))
    document["version"] = version
    finish(dst, document, quiet)
