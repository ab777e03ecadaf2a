"""`homeport model show`, `diff` and `plan`: models are read where they are, and nothing is changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.cli import app
from model_registry.cli.entry import run
from model_registry.core.errors import UsageError
from model_registry.reading import find_model
from stack.models.package import norm_stats
from tests.fakes.authored import author
from tests.fakes.model import NAME, contract, golden_arrays, make_model, write_contract
from tests.fakes.settings import ABSENT, robot_toml
from tests.fakes.tiny import make_tiny_model


class Desk:
    """Calls the command line in this process, in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.source = f"oci:{folder / 'registry'}"
        self._capture = capture

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        hook = sys.excepthook
        try:
            code = run(app, ["model", *map(str, arguments)])
        finally:
            sys.excepthook = hook
        out, err = self._capture.readouterr()
        return code, out, err

    def json(self, *arguments: object) -> Any:
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("HOMEPORT_SOURCE", raising=False)
    return Desk(tmp_path, capsys)


def test_a_folder_is_shown_with_all_that_its_contract_says(desk: Desk) -> None:
    code, out, _ = desk("show", make_tiny_model(desk.folder / "m"))

    assert code == 0
    text = " ".join(out.split())
    assert text.startswith("homeport/pilot 1.0.0 digest not packed yet licence Apache-2.0 made for mobile_base sees")
    for words in (
        "camera front 112x112 RGB, stretch, resize area, levels/255, mean 0.485/0.456/0.406, std 0.229/0.224/0.225: ",
        "words '{text}' by tokenizer.json, words it does not know move nothing, filled with 0 on the right: int64 [1, ",
        "policy policy.onnx, once a frame: image = cameras.front, lidar = lidar, tokens = text -> action float32 [1, 8",
        "chunk 8 actions, 6 of them carried out at 20 Hz (0.3 s)",
        "angular_z -1 to 1 rad/s",
        "fp32 within 0.001 m/s of linear_x, 0.001 rad/s of angular_z",
    ):
        assert words in text


def test_a_packed_model_is_shown_by_its_digest(desk: Desk) -> None:
    folder = author(make_model(desk.folder / "m", size=0))
    _, named, _ = desk("pack", folder, "--source", desk.source)
    in_folder = desk.json("show", folder)
    in_source = desk.json("show", f"{NAME}:1.0.0", "--source", desk.source)
    pulled = desk.json("pull", named.strip(), "--source", desk.source, "--to", desk.folder / "models")["path"]

    digest = named.strip().partition("@")[2]
    assert (in_folder["digest"], in_source["digest"]) == (None, digest)
    assert in_folder["files"] == in_source["files"]
    assert in_folder["contract"] == in_source["contract"]
    assert desk.json("show", pulled) == in_source
    assert digest in desk("show", pulled)[1]


def every_observation() -> dict[str, object]:
    """A contract with everything that one may say, over graphs that nobody opens."""
    camera = {"width": 64, "height": 48, "fit": "letterbox", "anchor": "bottom_right", "dtype": "uint8"}
    state = {"parts": [{"of": "joint_position", "names": ["elbow", "wrist"], "unit": "deg"}], "frames": [-1, 0]}
    inputs = {"side": "cameras.side", "goal": "goal", "words": "text", "mask": "text.mask", "q": "state"}
    steps = {"seen": "look.seen", "x": "x", "t": "time"}
    v = {"name": "v", "dtype": "float32", "shape": [1, 4, 2]}
    dims = [{"name": name, "unit": "deg", "min": -90, "max": 90} for name in ("elbow", "wrist")]
    return {
        "embodiment": "arm",
        "observation": {
            "cameras": {"side": camera},
            "goal": {"width": 32, "height": 32, "color": "GRAY", "divisor": 1.0},
            "state": {**state, "every_s": 0.1},
            "text": {"tokenizer": "tokenizer.json", "length": 8, "mask": "bool", "closed": False},
            "noise": {"shape": [1, 4, 2]},
            "prefix": 2,
            "delay": True,
        },
        "graphs": [
            {"id": "look", "path": "policy.onnx", "runs": "frame",
             "inputs": {**inputs, "before": "prefix", "late": "delay"},
             "outputs": [{"name": "seen", "dtype": "float32", "shape": [1, 7]}]},
            {"id": "act", "path": "act.onnx", "runs": "step", "inputs": steps, "outputs": [v]},
        ],
        "loop": {"method": "ddim", "times": [9, 4], "alphas": [0.1, 0.5, 1.0], "v": "act.v", "time_dtype": "int64"},
        "output": {"from": "x"},
        "action": {"space": "joint_position", "relative": "to_state", "dims": dims, "horizon": 4, "execute_steps": 2,
                   "control_hz": 10},
    }  # fmt: skip


def test_everything_that_a_contract_may_say_has_words(desk: Desk) -> None:
    folder = make_model(desk.folder / "m", size=0)
    (folder / "act.onnx").write_bytes(b"unread")
    write_contract(folder, contract(folder) | every_observation())
    _, out, err = desk("show", folder)

    assert err == ""
    text = " ".join(out.split())
    for words in (
        "camera side 64x48 RGB, letterbox bottom_right, pad 0, resize area, levels as they are: uint8 [1, 3, 48, 64]",
        "goal 32x32 GRAY, stretch, resize area, levels/1: float32 [1, 1, 32, 32]",
        "joint_position elbow, wrist (deg), normalise none, frames [-1, 0] every 0.1 s: float32 [1, 2, 2]",
        "any text, filled with 0 on the right, mask bool: int64 [1, 8]",
        "noise float32 [1, 4, 2], from the release and the frame",
        "prefix the next 2 actions that were still to come",
        "delay how many of them will have been executed",
        "act act.onnx, once a step of the loop: seen = look.seen, x = x, t = time -> v float32 [1, 4, 2]",
        "loop 2 steps of ddim from 9 to 4 by act.v, act.v is epsilon",
        "space joint_position, relative to_state, normalise none, from x",
    ):
        assert words in text


def test_what_changed_is_told_by_name_digest_and_size(desk: Desk) -> None:
    before = make_model(desk.folder / "before", size=0)
    after = make_model(desk.folder / "after", size=0, version="1.1.0", seed=1)
    (after / "norm_stats.json").write_bytes(norm_stats((0.0, 0.5), (1.0, 1.0)))
    (after / "golden" / "forward.npz").rename(after / "golden" / "again.npz")
    np.savez(after / "golden" / "more.npz", **golden_arrays())
    fields: Any = contract(after, "1.1.0")
    fields["action"]["dims"].insert(0, {"name": "linear_y", "unit": "m/s", "min": -1, "max": 1})
    fields["action"]["control_hz"] = 30.0
    fields["goldens"] = [{"path": "golden/again.npz", "tolerance": {"fp32": 0.001}}]
    write_contract(after, fields | {"output": {"from": "policy.action", "columns": [0, 1, 2]}})
    fields["graphs"][0]["outputs"][0]["shape"] = [1, 8, 3]
    write_contract(after, fields)
    code, out, _ = desk("diff", before, after)

    assert code == 0
    lines = out.splitlines()
    assert "  action.control_hz: 20.0 -> 30.0" in lines
    assert "  + action.dims[linear_y].unit: m/s" in lines
    assert not any("dims[linear_x]" in line for line in lines), "what only moved has not changed"
    assert "  - goldens[golden/forward.npz].tolerance.fp32: 0.001" in lines
    assert "  action.angular_z.mean: 0.0 -> 0.5" in lines
    assert any(line.startswith("  policy.onnx: 6,") and " bytes, " in line and " -> " in line for line in lines)
    assert any(line.startswith("  + golden/more.npz: ") for line in lines)
    found = desk.json("diff", before, after)
    [graph] = [each for each in found["files"] if each["where"] == "policy.onnx"]
    assert graph["before"]["digest"] == str(find_model(str(before)).files["policy.onnx"][0])


def test_a_model_and_its_copy_in_a_source_do_not_differ(desk: Desk) -> None:
    folder = author(make_model(desk.folder / "m", size=0))
    desk("pack", folder, "--source", desk.source)

    code, out, _ = desk("diff", f"{NAME}:1.0.0", folder, "--source", desk.source)

    assert (code, out) == (0, "nothing differs\n")


def robot(desk: Desk, **changes: object) -> Path:
    path = desk.folder / "robot.toml"
    path.write_text(robot_toml(**changes))
    return path


def test_a_plan_names_the_source_of_each_thing(desk: Desk) -> None:
    folder = author(make_tiny_model(desk.folder / "m"))
    code, out, err = desk("plan", folder, "--robot", robot(desk))

    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "fits wants source, or why not"
    assert "yes camera front, 112x112 RGB /camera/image_raw ([cameras.front])" in lines
    assert "yes a scan, 90 sectors up to 3 m /scan ([sources.scan])" in lines
    assert desk.json("plan", folder, "--robot", robot(desk))["fits"] is True


def test_a_plan_that_does_not_fit_says_all_of_it_and_ends_with_5(desk: Desk) -> None:
    desk("pack", make_tiny_model(desk.folder / "m"), "--source", desk.source)
    mast = {"topic": "/mast/image_raw"}
    small = robot(desk, sources={"scan": ABSENT}, cameras={"mast": mast}, embodiment="cart")
    code, out, err = desk("plan", "homeport/pilot:1.0.0", "--robot", small, "--source", desk.source)

    assert code == 5
    refused = [line for line in out.splitlines() if line.startswith("no ")]
    assert len(refused) == 3
    assert "it wants a camera 'front', and this robot has mast" in out
    assert "it is made for mobile_base, and robot-1 is a cart" in out
    assert "this robot has no lidar" in out
    assert "homeport/pilot 1.0.0 does not fit robot-1: 3 of " in err
    code, out, _ = desk("plan", "homeport/pilot:1.0.0", "--robot", small, "--source", desk.source, "--json")
    assert (code, json.loads(out)["fits"]) == (5, False)


def test_what_is_not_there_is_said(desk: Desk) -> None:
    with pytest.raises(UsageError, match="no folder here; name a model's folder, or give --source"):
        find_model("nowhere")
    assert desk("show", "pilot:1.0.0")[0] == 2
    assert desk("plan", make_tiny_model(desk.folder / "m"), "--robot", desk.folder / "none.toml")[0] == 1
