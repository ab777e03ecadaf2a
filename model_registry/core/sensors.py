"""What a robot sees and feels for its policies: cameras by name, and joints with their units. Part of robot.toml.

[cameras.front]                  as many as there are; without this table there is one, front
topic = "/camera/image_raw"
max_age_ms = 150                 optional: no older frame is used, whatever a release's profile allows
stamps = true                    optional: false where this driver's stamps are not looked at
[cameras.alias]
top = "front"                    the model's camera `top` is this robot's `front`

[sources.joints]
topic = "/joint_states"
max_age_ms = 50
[joints.elbow]                   only where a policy's numbers are not the robot's
unit = "deg"                     of its position: what comes out of sign · scale · value + offset
scale = 57.29578
offset = 0.0
sign = 1
"""

from __future__ import annotations

from dataclasses import dataclass, field

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError

CAMERA_TOPIC = "/camera/image_raw"
JOINTS_TOPIC = "/joint_states"
ALIAS = "alias"
_MOST_MS = 600_000.0


@dataclass(frozen=True)
class CameraSettings:
    """One camera: its topic, how old its frames may be (ms; None: as a release's profile says), its stamps."""

    topic: str = CAMERA_TOPIC
    max_age_ms: float | None = None
    stamps: bool = True

    @classmethod
    def read(cls, reader: Reader) -> CameraSettings:
        return cls(
            reader.text("topic"),
            reader.number("max_age_ms", 1.0, _MOST_MS) if reader.has("max_age_ms") else None,
            reader.boolean("stamps") if reader.has("stamps") else True,
        )


@dataclass(frozen=True)
class JointsSource:
    """Where the joints' positions, velocities and efforts come from: a topic of sensor_msgs/JointState."""

    topic: str
    max_age_ms: float
    stamps: bool = True

    @classmethod
    def read(cls, reader: Reader) -> JointsSource:
        return cls(
            reader.text_or("topic", JOINTS_TOPIC),
            reader.number("max_age_ms", 1.0, _MOST_MS),
            reader.boolean("stamps") if reader.has("stamps") else True,
        )


@dataclass(frozen=True)
class JointSettings:
    """How a joint's position becomes a policy's: sign · scale · value + offset, in `unit`.

    Its velocity has no offset and is in `unit` a second; its effort has the sign and keeps its unit.
    """

    unit: str = "rad"
    scale: float = 1.0
    offset: float = 0.0
    sign: int = 1

    @classmethod
    def read(cls, reader: Reader) -> JointSettings:
        sign = int(reader.number_or("sign", 1.0, -1.0, 1.0))
        if sign == 0:
            raise UsageError(f"{reader.path}.sign: 0 is no direction; give 1 or -1")
        scale = reader.number_or("scale", 1.0, 1e-9, 1e9)
        return cls(reader.text_or("unit", "rad"), scale, reader.number_or("offset", 0.0, -1e9, 1e9), sign)

    @property
    def factor(self) -> float:
        return self.sign * self.scale


@dataclass(frozen=True)
class Sensors:
    """All of it. `aliases`: a model's name of a camera → this robot's."""

    cameras: dict[str, CameraSettings] = field(default_factory=lambda: {"front": CameraSettings()})
    aliases: dict[str, str] = field(default_factory=dict)
    joints_source: JointsSource | None = None
    joints: dict[str, JointSettings] = field(default_factory=dict)

    @classmethod
    def read(cls, robot: Reader, sources: Reader) -> Sensors:
        """From robot.toml and its table of sources. Raises UsageError naming the key."""
        found: dict[str, CameraSettings] = {"front": CameraSettings()}
        aliases: dict[str, str] = {}
        if robot.has("cameras"):
            cameras = robot.child("cameras")
            found = {name: CameraSettings.read(cameras.child(name)) for name in cameras.names() if name != ALIAS}
            if cameras.has(ALIAS):
                listed = cameras.child(ALIAS)
                aliases = {name: listed.text(name, found) for name in listed.names()}
        return cls(
            cameras=found,
            aliases=aliases,
            joints_source=JointsSource.read(sources.child("joints")) if sources.has("joints") else None,
            joints=_joints(robot.child("joints")) if robot.has("joints") else {},
        )

    def camera(self, name: str) -> str | None:
        """This robot's name of a model's camera; None where it has none."""
        own = self.aliases.get(name, name)
        return own if own in self.cameras else None


def _joints(reader: Reader) -> dict[str, JointSettings]:
    return {name: JointSettings.read(reader.child(name)) for name in reader.names()}
