"""From a slot's folder to a policy that can run, with its smaller variant."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, RefusedError
from model_registry.core.layout import Layout
from stack.engine import builder
from stack.engine.variants import variants
from stack.policy.load import find, load
from tests.fakes.observations import beams, frame
from tests.fakes.robot import add_model, make_release, put_in_slot, release_fields, stage, take_as_proved
from tests.fakes.ros import REPOSITORY
from tests.fakes.schemas import check
from tests.fakes.tiny import add_variant, make_null_model, make_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = make_tiny_model(tmp_path / "model")
    add_variant(folder, "small")
    return folder


def test_a_variant_is_built_proved_and_loaded_beside_its_model(tmp_path: Path, model: Path) -> None:
    check(json.loads((model / "vla.json").read_bytes()), "vla")
    Contract.load(model).check_files(model)
    make_release(tmp_path / "robot", model)
    plan, slot = load(find(Layout.at(tmp_path / "robot"), "a"))
    assert slot.pace.small is not None and slot.pace.small is not slot.inference
    [(variant, folder)] = variants(plan, (find(Layout.at(tmp_path / "robot"), "a").folder / "engine").resolve())
    assert (folder / "gate.json").exists() and folder.name == variant.key and folder.parents[1].name == plan.key


@pytest.mark.parametrize(("stamps", "fault"), [("true", "stale_stamp"), ("false", None)])
def test_the_robot_says_whether_its_lasers_stamps_are_looked_at(
    tmp_path: Path, model: Path, stamps: str, fault: str | None
) -> None:
    root = tmp_path / "robot"
    make_release(root, model)
    example = (REPOSITORY / "docs/examples/robot.toml").read_text()
    layout = Layout.at(root)
    layout.robot_toml.parent.mkdir(parents=True, exist_ok=True)
    layout.robot_toml.write_text(re.sub("^stamps = true", f"stamps = {stamps}", example, count=1, flags=re.M))
    _, slot = load(find(layout, "a"))
    slot.on_scan(beams(0.0), time.monotonic(), time.time_ns())
    assert slot.sources.scan.fault(time.monotonic(), time.time_ns()) == fault


@pytest.mark.parametrize(
    ("entry", "fault"), [("", "stale_stamp"), ("stamps = true", "stale_stamp"), ("stamps = false", None)]
)
def test_the_robot_says_whether_its_cameras_stamps_are_looked_at(
    tmp_path: Path, model: Path, entry: str, fault: str | None
) -> None:
    root = tmp_path / "robot"
    make_release(root, model)
    example = (REPOSITORY / "docs/examples/robot.toml").read_text()
    layout = Layout.at(root)
    layout.robot_toml.parent.mkdir(parents=True, exist_ok=True)
    layout.robot_toml.write_text(re.sub(r"^(\[cameras.front\].*\n.*)\n.*$", rf"\1\n{entry}", example, flags=re.M))
    _, slot = load(find(layout, "a"))
    slot.on_camera("front", frame(0.0), time.monotonic(), time.time_ns())
    assert slot.sources.cameras["front"].fault(time.monotonic(), time.time_ns()) == fault


def test_a_variant_that_was_not_proved_is_no_rung(tmp_path: Path, model: Path) -> None:
    make_release(tmp_path / "robot", model)
    found = find(Layout.at(tmp_path / "robot"), "a")
    [(_, folder)] = variants(builder.plan(found.folder), (found.folder / "engine").resolve())
    shutil.rmtree(folder)
    assert load(found)[1].pace.small is None


@pytest.mark.parametrize(
    ("steps", "overrides", "words"),
    [
        (1, {"null_ms": 30.0}, "25 ms is the longest that leaves no hole between action chunks"),
        (8, {"null_ms": 3.0, "max_cycle_s": 0.001}, "profile safe_production drops what took more than 1 ms"),
    ],
)
def test_a_policy_too_slow_for_its_steps_or_its_profile_does_not_become_ready(
    tmp_path: Path, steps: int, overrides: dict[str, float], words: str
) -> None:
    """What was proved elsewhere, or on a calmer day, is measured again before it drives."""
    root = tmp_path / "robot"
    name = add_model(root, make_null_model(tmp_path / "model", steps))
    fields: Any = release_fields(name)
    fields["engine"]["backends"] = ["null"]
    fields["config"] = {"profile": "safe_production", "overrides": overrides}
    folder = stage(root, fields, name)
    take_as_proved(root, folder)
    put_in_slot(root, Digest(folder.name), "a")
    with pytest.raises(RefusedError, match=words):
        load(find(Layout.at(root), "a"))


def test_a_variant_that_acts_differently_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    small = add_variant(folder, "small")
    document = json.loads((small / "vla.json").read_bytes())
    document["action"]["execute_steps"] = 2
    (small / "vla.json").write_text(json.dumps(document))
    name = add_model(tmp_path / "robot", folder)
    plan = builder.plan(stage(tmp_path / "robot", release_fields(name), name))
    with pytest.raises(IncompatibleError, match="gives other actions"):
        list(variants(plan, tmp_path))
