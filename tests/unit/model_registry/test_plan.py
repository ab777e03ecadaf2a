"""Whether a model fits a robot: every line of a plan that fits, and every sentence of one that does not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from model_registry.core.plan import Line, Plan
from model_registry.core.robot import Robot
from tests.fakes.observations import wants
from tests.fakes.settings import ABSENT, robot_toml
from tests.fakes.tiny import make_tiny_model

CAMERA = {"width": 8, "height": 6}
JOINTS = {"joints": {"max_age_ms": 50, "topic": "/arm/joint_states"}}
DIMENSIONS = {"linear_x": "m/s", "linear_y": "m/s", "angular_z": "rad/s"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("plan") / "model")


def contract(model: Path, action: dict[str, Any] | None = None, **observation: Any) -> Contract:
    """A contract that wants `observation`, a scan where nothing is said, and gives `action`."""
    document = json.loads((model / "vla.json").read_bytes())
    document["action"] |= action or {}
    (model / "vla.json").write_text(json.dumps(document))
    wants(model, observation or {"lidar": {"sectors": 90, "max_range_m": 3.0}})
    return Contract.load(model)


@pytest.fixture(autouse=True)
def restored(model: Path) -> Any:
    before = (model / "vla.json").read_bytes()
    yield
    (model / "vla.json").write_bytes(before)


def robot(folder: Path, **changes: Any) -> Robot:
    (folder / "robot.toml").write_text(robot_toml(**changes))
    return Robot.load(folder / "robot.toml")


def state(of: str, unit: str, *names: str) -> dict[str, Any]:
    return {"parts": [{"of": of, "names": list(names), "unit": unit}]}


def base(*names: str) -> dict[str, Any]:
    return {"dims": [{"name": name, "unit": DIMENSIONS[name], "min": -1.0, "max": 1.0} for name in names]}


def one_refusal(plan: Plan) -> str:
    [refusal] = plan.refusals
    return refusal


def test_every_line_of_a_plan_that_fits_says_what_is_wanted_and_where_it_comes_from(
    model: Path, tmp_path: Path
) -> None:
    wanted = contract(
        model,
        cameras={"front": {**CAMERA, "color": "GRAY"}, "top": CAMERA},
        state={
            "parts": [
                {"of": "joint_position", "names": ["elbow"], "unit": "deg"},
                {"of": "base_velocity", "names": ["angular_z"], "unit": "rad/s"},
            ]
        },
        text={"tokenizer": "tokenizer.json", "length": 10},
        lidar={"sectors": 90, "max_range_m": 2.5},
        noise={"shape": [1, 8, 2]},
        prefix=4,
        delay=True,
    )
    body = robot(
        tmp_path,
        cameras={"front": {"topic": "/front"}, "alias": {"top": "front"}},
        sources=JOINTS,
        topics={"cmd_vel": "/base/cmd_vel"},
    )

    plan = Plan.of(wanted, body)

    assert plan.lines == (
        Line("a body: mobile_base", "mobile_base"),
        Line("camera front, 8x6 GRAY", "/front ([cameras.front])"),
        Line("camera top, 8x6 RGB", "/front ([cameras.front])"),
        Line("state joint_position.elbow, deg", "/arm/joint_states ([sources.joints])"),
        Line("state base_velocity.angular_z, rad/s", "/odom ([sources.odom])"),
        Line("a scan, 90 sectors up to 2.5 m", "/scan ([sources.scan])"),
        Line("words, up to 10 tokens", "/voice_command"),
        Line("noise [1, 8, 2]", "made here, from the release and the frame"),
        Line("base_velocity: linear_x (m/s), angular_z (rad/s)", "/base/cmd_vel, by the supervisor"),
    )
    assert plan.refusals == () and plan.cameras == {"front": "front", "top": "front"}
    elbow, turn = plan.state
    assert (elbow.source, elbow.field, elbow.name) == ("joints", "position", "elbow")
    assert (elbow.factor, elbow.offset) == (pytest.approx(180 / math.pi), 0.0)
    assert (turn.source, turn.field, turn.name, turn.factor) == ("odom", "base_velocity", "angular_z", 1.0)
    plan.check(wanted, body)


def test_another_body_is_refused(model: Path, tmp_path: Path) -> None:
    plan = Plan.of(contract(model), robot(tmp_path, embodiment="arm"))
    assert one_refusal(plan) == (
        "it is made for mobile_base, and robot-1 is a arm, so deploy it to robots it was made for"
    )


def test_a_camera_that_the_robot_does_not_have_is_refused_with_both_ways_out(model: Path, tmp_path: Path) -> None:
    wanted = contract(model, cameras={"top": CAMERA})
    plan = Plan.of(wanted, robot(tmp_path, cameras={"left": {"topic": "/l"}, "right": {"topic": "/r"}}))
    assert one_refusal(plan) == (
        "it wants a camera 'top', and this robot has left, right, so add it as [cameras.top] to robot.toml, or say "
        'top = "left" in [cameras.alias]'
    )
    assert plan.cameras == {}
    assert "this robot has front, so" in one_refusal(Plan.of(wanted, robot(tmp_path))), "where robot.toml names none"


def test_a_goal_image_is_refused(model: Path, tmp_path: Path) -> None:
    plan = Plan.of(contract(model, goal=CAMERA, lidar={"sectors": 9, "max_range_m": 3.0}), robot(tmp_path))
    assert one_refusal(plan) == (
        "it wants a goal image, and no command of this version carries one, so use a policy that goes by words"
    )


def test_joints_of_a_robot_that_names_none_are_refused(model: Path, tmp_path: Path) -> None:
    plan = Plan.of(contract(model, state=state("joint_position", "rad", "elbow")), robot(tmp_path))
    assert one_refusal(plan) == (
        "it wants joint_position of elbow, and this robot names no joints, so add [sources.joints] to robot.toml"
    )
    assert plan.state == ()


@pytest.mark.parametrize(
    ("of", "unit", "given"),
    [
        ("joint_position", "rad/s", "rad"),
        ("joint_position", "deg/s", "rad"),
        ("joint_position", "percent", "rad"),
        ("gripper", "m", "rad"),
        ("joint_velocity", "deg", "rad/s"),
        ("effort", "rad", "Nm"),
    ],
)
def test_a_unit_to_which_nothing_leads_is_refused(model: Path, tmp_path: Path, of: str, unit: str, given: str) -> None:
    plan = Plan.of(contract(model, state=state(of, unit, "elbow")), robot(tmp_path, sources=JOINTS))
    assert one_refusal(plan) == (
        f"it wants {of} of elbow in {unit}, and robot.toml gives {given}, so say in [joints.elbow] the unit, scale, "
        "offset and sign that lead there"
    )


@pytest.mark.parametrize(
    ("of", "unit", "settings", "field", "factor", "offset"),
    [
        ("joint_position", "rad", None, "position", 1.0, 0.0),
        ("joint_position", "deg", None, "position", 180 / math.pi, 0.0),
        ("joint_velocity", "deg/s", None, "velocity", 180 / math.pi, 0.0),
        ("effort", "Nm", None, "effort", 1.0, 0.0),
        ("gripper", "percent", {"unit": "percent", "scale": 50.0, "offset": 10.0}, "position", 50.0, 10.0),
        ("joint_position", "deg", {"sign": -1, "offset": math.pi}, "position", -180 / math.pi, 180.0),
        ("joint_velocity", "percent/s", {"unit": "percent", "scale": 50.0, "offset": 10.0}, "velocity", 50.0, 0.0),
        ("joint_velocity", "rad/s", {"sign": -1}, "velocity", -1.0, 0.0),
        ("effort", "Nm", {"unit": "deg", "scale": 57.3, "offset": 5.0, "sign": -1}, "effort", -1.0, 0.0),
        ("effort", "N", {"unit": "m"}, "effort", 1.0, 0.0),
    ],
)
def test_numbers_of_joints_lead_to_the_models_units(
    model: Path, tmp_path: Path, of: str, unit: str, settings: Any, field: str, factor: float, offset: float
) -> None:
    given = {} if settings is None else {"joints": {"elbow": settings}}
    plan = Plan.of(contract(model, state=state(of, unit, "elbow")), robot(tmp_path, sources=JOINTS, **given))
    assert plan.refusals == ()
    [number] = plan.state
    assert (number.field, number.factor, number.offset) == (field, pytest.approx(factor), pytest.approx(offset))


def test_speeds_of_a_robot_without_odometry_are_refused(model: Path, tmp_path: Path) -> None:
    wanted = contract(model, state=state("base_velocity", "m/s", "linear_x"))
    plan = Plan.of(wanted, robot(tmp_path, sources={"odom": ABSENT}))
    assert one_refusal(plan) == "it wants the speed linear_x, and this robot has no odometry"


@pytest.mark.parametrize(("name", "unit"), [("linear_x", "rad/s"), ("linear_z", "m/s")])
def test_speeds_that_odometry_does_not_have_are_refused(model: Path, tmp_path: Path, name: str, unit: str) -> None:
    plan = Plan.of(contract(model, state=state("base_velocity", unit, name)), robot(tmp_path))
    assert one_refusal(plan) == (
        f"it wants {name} in {unit} of the base, and odometry has linear_x in m/s, linear_y in m/s, angular_z in rad/s"
    )


def test_a_scan_of_a_robot_without_lidar_is_refused(model: Path, tmp_path: Path) -> None:
    plan = Plan.of(contract(model), robot(tmp_path, sources={"scan": ABSENT}))
    assert one_refusal(plan) == (
        "it wants a scan, and this robot has no lidar ([sources.scan] present = false), so use a policy without lidar"
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("linear_x", "linear_y"), "commands linear_y"),
        (("linear_x",), "does not command angular_z"),
        (("angular_z", "linear_x"), "does not command them in this order"),
    ],
)
def test_a_base_that_cannot_do_what_is_commanded_is_refused(
    model: Path, tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    plan = Plan.of(contract(model, base(*names)), robot(tmp_path))
    assert one_refusal(plan) == (
        f"it {said}, and a base of this version takes linear_x and angular_z in this order, so export it with these two"
    )


def test_an_arm_is_refused(model: Path, tmp_path: Path) -> None:
    dims = [{"name": name, "unit": "rad", "min": -1.0, "max": 1.0} for name in ("elbow", "wrist")]
    plan = Plan.of(contract(model, {"space": "joint_position", "dims": dims}), robot(tmp_path))
    assert one_refusal(plan) == (
        "it commands joint_position, and robots of this version have a base only, so it can be staged and looked at "
        "and drives nothing"
    )


def test_every_reason_is_told_at_once_and_on_one_line(model: Path, tmp_path: Path) -> None:
    wanted = contract(model, cameras={"top": CAMERA}, goal=CAMERA)
    body = robot(tmp_path, embodiment="arm")
    with pytest.raises(IncompatibleError) as caught:
        Plan.of(wanted, body).check(wanted, body)
    text = str(caught.value)
    assert text.startswith("model homeport/pilot 1.0.0 does not fit robot-1: it is made for mobile_base")
    assert text.count("; ") == 2 and "\n" not in text
