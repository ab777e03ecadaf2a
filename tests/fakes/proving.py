"""Build and prove a model as a robot does, and look at the verdict."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from model_registry.core.gate import GateResult
from tests.fakes.robot import add_model, build_engine, release_fields, stage
from tests.fakes.schemas import check


def gate(tmp_path: Path, model: Path, budget: dict[str, float] | None = None, **engine: Any) -> tuple[GateResult, Path]:
    """The verdict and the release's folder; `engine` are fields of the recipe."""
    root = tmp_path / "robot"
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"].update(engine)
    fields["engine"]["budget"].update(budget or {})
    folder = stage(root, fields, name)
    result = build_engine(root, folder)
    for file in (folder / "prove.json", folder / "engine" / "gate.json"):
        check(json.loads(file.read_bytes()), "gate")
    return result, folder


def failed(result: GateResult) -> list[str]:
    """The metrics that did not hold."""
    return [item.metric for item in result.checks if not item.ok]


def hogs() -> list[int]:
    """The processes of ours that keep cores busy."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"SCHED_IDLE" in Path(f"/proc/{pid}/cmdline").read_bytes()]
