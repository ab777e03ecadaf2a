"""Whether a model fits a robot: for each thing that its contract wants the source that gives it, or why there is none.

`homeport model plan`, the agent's preflight and the slot all ask here.

    plan = Plan.of(contract, robot)
    plan.refusals      one sentence each; nothing here means that it fits
    plan.cameras       what the slot listens to
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from model_registry.core.contract import Contract
from model_registry.core.contract.actions import BASE_VELOCITY
from model_registry.core.contract.observation import StatePart
from model_registry.core.errors import IncompatibleError
from model_registry.core.robot import Robot
from model_registry.core.sensors import JointSettings, Sensors

BASE_DIMENSIONS = ("linear_x", "angular_z")
"""What a base of this version can be told, in this order."""
_ODOMETRY = {"linear_x": "m/s", "linear_y": "m/s", "angular_z": "rad/s"}
_DEGREES = 180.0 / math.pi
_OF_JOINTS = {"joint_position": "position", "gripper": "position", "joint_velocity": "velocity", "effort": "effort"}
"""What a state calls it → the field of a message of joints."""
_PLAIN = {"position": "rad", "velocity": "rad/s", "effort": "Nm"}
"""The units of a message of joints, where robot.toml says nothing of the joint."""
_TURNED = {("rad", "deg"): _DEGREES, ("rad/s", "deg/s"): _DEGREES}
"""Units that lead to each other without robot.toml, and by which factor."""


@dataclass(frozen=True)
class StateNumber:
    """One number of a state: `field` of joint `name` (position, velocity, effort), or a speed from odometry.

    The policy gets factor · value + offset.
    """

    field: str
    name: str
    factor: float = 1.0
    offset: float = 0.0

    @property
    def source(self) -> str:
        """Which source of a slot it is read from."""
        return "odom" if self.field == "base_velocity" else "joints"


@dataclass(frozen=True)
class Line:
    """One line of a plan: what is wanted, where it comes from, and why not, where it does not."""

    wants: str
    source: str | None
    reason: str | None = None


@dataclass(frozen=True)
class Plan:
    """`cameras`: the model's name → this robot's; `state`: where each number of the state comes from, in its order."""

    lines: tuple[Line, ...]
    cameras: dict[str, str] = field(default_factory=dict)
    state: tuple[StateNumber, ...] = ()

    @classmethod
    def of(cls, contract: Contract, robot: Robot) -> Plan:
        """How `contract` gets what it wants on `robot`."""
        sensors = robot.sensors
        lines = [*_body(contract, robot), *_cameras(contract, sensors)]
        numbers: list[StateNumber] = []
        if contract.observation.state is not None:
            for part in contract.observation.state.parts:
                for name in part.names:
                    line, number = _number(part, name, robot)
                    lines.append(line)
                    numbers += [] if number is None else [number]
        lines += _others(contract, robot)
        lines += _action(contract, robot)
        found = {name: sensors.camera(name) for name in contract.observation.cameras}
        return cls(tuple(lines), {name: own for name, own in found.items() if own is not None}, tuple(numbers))

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the model cannot run on the robot; empty when it can."""
        return tuple(line.reason for line in self.lines if line.reason is not None)

    def check(self, contract: Contract, robot: Robot) -> None:
        """Raises IncompatibleError with every reason when it does not fit."""
        if self.refusals:
            told = "; ".join(self.refusals)
            raise IncompatibleError(f"model {contract.name} {contract.version} does not fit {robot.name}: {told}")


def _body(contract: Contract, robot: Robot) -> Iterator[Line]:
    reason = None
    if contract.embodiment != robot.embodiment:
        reason = (
            f"it is made for {contract.embodiment}, and {robot.name} is a {robot.embodiment}, so deploy it to robots "
            "it was made for"
        )
    yield Line(f"a body: {contract.embodiment}", robot.embodiment, reason)


def _cameras(contract: Contract, sensors: Sensors) -> Iterator[Line]:
    for name, recipe in contract.observation.cameras.items():
        wants = f"camera {name}, {recipe.width}x{recipe.height} {recipe.color}"
        own = sensors.camera(name)
        if own is None:
            have = ", ".join(sensors.cameras) or "none"
            first = next(iter(sensors.cameras), "front")
            yield Line(
                wants,
                None,
                f"it wants a camera {name!r}, and this robot has {have}, so add it as [cameras.{name}] to robot.toml, "
                f'or say {name} = "{first}" in [cameras.alias]',
            )
        else:
            yield Line(wants, f"{sensors.cameras[own].topic} ([cameras.{own}])")
    if contract.observation.goal is not None:
        yield Line(
            "a goal image",
            None,
            "it wants a goal image, and no command of this version carries one, so use a policy that goes by words",
        )


def _number(part: StatePart, name: str, robot: Robot) -> tuple[Line, StateNumber | None]:
    """One number of the state."""
    wants = f"state {part.of}.{name}, {part.unit}"
    if part.of == "base_velocity":
        return _speed(wants, part, name, robot)
    source = robot.sensors.joints_source
    if source is None:
        return Line(
            wants,
            None,
            f"it wants {part.of} of {name}, and this robot names no joints, so add [sources.joints] to robot.toml",
        ), None
    kind = _OF_JOINTS[part.of]
    settings = robot.sensors.joints.get(name)
    unit, factor, offset = (_PLAIN[kind], 1.0, 0.0) if settings is None else _said(settings, kind)
    turned = _TURNED.get((unit, part.unit))
    if turned is not None:
        unit, factor, offset = part.unit, factor * turned, offset * turned
    if unit != part.unit:
        return Line(
            wants,
            None,
            f"it wants {part.of} of {name} in {part.unit}, and robot.toml gives {unit}, so say in [joints.{name}] "
            "the unit, scale, offset and sign that lead there",
        ), None
    return Line(wants, f"{source.topic} ([sources.joints])"), StateNumber(kind, name, factor, offset)


def _said(settings: JointSettings, kind: str) -> tuple[str, float, float]:
    """Unit, factor and offset of a joint that robot.toml describes by its position.

    Its velocity is in that unit a second and has no offset; of its effort only the sign is another.
    """
    if kind == "position":
        return settings.unit, settings.factor, settings.offset
    if kind == "velocity":
        return f"{settings.unit}/s", settings.factor, 0.0
    return "N" if settings.unit == "m" else "Nm", float(settings.sign), 0.0


def _speed(wants: str, part: StatePart, name: str, robot: Robot) -> tuple[Line, StateNumber | None]:
    if not robot.sources["odom"].present:
        return Line(wants, None, f"it wants the speed {name}, and this robot has no odometry"), None
    if _ODOMETRY.get(name) != part.unit:
        known = ", ".join(f"{key} in {unit}" for key, unit in _ODOMETRY.items())
        return Line(wants, None, f"it wants {name} in {part.unit} of the base, and odometry has {known}"), None
    return Line(wants, f"{robot.topics['odom']} ([sources.odom])"), StateNumber("base_velocity", name)


def _others(contract: Contract, robot: Robot) -> Iterator[Line]:
    recipes = contract.observation
    if recipes.lidar is not None:
        wants = f"a scan, {recipes.lidar.sectors} sectors up to {recipes.lidar.max_range_m:g} m"
        if robot.sources["scan"].present:
            yield Line(wants, f"{robot.topics['scan']} ([sources.scan])")
        else:
            yield Line(
                wants,
                None,
                "it wants a scan, and this robot has no lidar ([sources.scan] present = false), so use a policy "
                "without lidar",
            )
    if recipes.text is not None:
        yield Line(f"words, up to {recipes.text.length} tokens", robot.topics["voice"])
    if recipes.noise is not None:
        yield Line(f"noise {list(recipes.noise.shape)}", "made here, from the release and the frame")


def _action(contract: Contract, robot: Robot) -> Iterator[Line]:
    action = contract.action
    wants = f"{action.space}: {', '.join(f'{dim.name} ({dim.unit})' for dim in action.dims)}"
    if action.space != BASE_VELOCITY:
        yield Line(
            wants,
            None,
            f"it commands {action.space}, and robots of this version have a base only, so it can be staged and looked "
            "at and drives nothing",
        )
    elif action.names != BASE_DIMENSIONS:
        strange = [name for name in action.names if name not in BASE_DIMENSIONS]
        missing = [name for name in BASE_DIMENSIONS if name not in action.names]
        said = f"commands {strange[0]}" if strange else f"does not command {(missing or ['them in this order'])[0]}"
        yield Line(
            wants,
            None,
            f"it {said}, and a base of this version takes {' and '.join(BASE_DIMENSIONS)} in this order, so export it "
            "with these two",
        )
    else:
        yield Line(wants, f"{robot.topics['cmd_vel']}, by the supervisor")
