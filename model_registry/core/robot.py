"""What is true of one robot, whatever release it runs.

It stands in `/etc/homeport/robot.toml`, which the role `device` writes from the inventory.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from model_registry.core.sensors import Sensors
from model_registry.core.stop_words import StopWords
from model_registry.core.toml import read_toml

SOURCES = ("scan", "odom", "battery", "estop")
_OPTIONAL_SOURCES = frozenset({"estop"})
TOPICS = {
    "scan": "/scan",
    "odom": "/odom",
    "battery": "/battery_state",
    "voice": "/voice_command",
    "cmd_vel": "/cmd_vel",
}
MAX_BASE_TIMEOUT_S = 0.25
ACTION_MAX_AGE_S = 1.0
"""Oldest observation that an action may be derived from, where robot.toml says nothing else: a 300 ms policy that
executes 8 steps of 50 ms stays below.
"""
_TEGRA = re.compile(r"# R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)")


def l4t_of(release: Path) -> str | None:
    """The L4T release in /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, …` is 36.4.3.

    None where there is no such file, `unknown` for any other text.
    """
    if not release.is_file():
        return None
    found = _TEGRA.match(release.read_text(errors="replace"))
    return "unknown" if found is None else f"{found[1]}.{found[2]}"


@dataclass(frozen=True)
class Limits:
    """Largest commanded speeds, their slopes, and how fast the slopes may change.

    In m/s, rad/s, m/s², rad/s², m/s³ and rad/s³.
    """

    linear: float
    angular: float
    linear_acceleration: float
    angular_acceleration: float
    linear_jerk: float
    angular_jerk: float

    @classmethod
    def read(cls, reader: Reader) -> Limits:
        """Without a limit of its own, jerk is what reaches the whole slope in a tenth of a second."""
        slopes = {name: reader.number(f"{name}_acceleration", 0.01, 100.0) for name in ("linear", "angular")}
        jerks = {name: reader.number_or(f"{name}_jerk", 10.0 * slope, 0.01, 10_000.0) for name, slope in slopes.items()}
        return cls(
            reader.number("linear", 0.0, 20.0),
            reader.number("angular", 0.0, 20.0),
            *slopes.values(),
            *jerks.values(),
        )


@dataclass(frozen=True)
class SourceSettings:
    """One input of the supervisor.

    A source that is not `present` is declared absent; any other missing source stops the robot.

    Without `stamps` its stamps are not looked at: for a driver that sends none, or those of another clock.
    """

    present: bool
    max_age_ms: float
    stamps: bool = True

    @classmethod
    def read(cls, reader: Reader) -> SourceSettings:
        present = reader.boolean("present")
        return cls(present, reader.number("max_age_ms", 1.0, 600_000.0) if present else 0.0, _stamps(reader))


@dataclass(frozen=True)
class Footprint:
    """What of the floor the body covers, in metres from the point it turns about.

    A `round` body has its radius three times.
    """

    front: float
    rear: float
    half_width: float
    round: bool

    @classmethod
    def read(cls, reader: Reader) -> Footprint:
        """`radius`, or `front`, `rear` and `half_width`."""
        if reader.has("radius"):
            radius = reader.number("radius", 0.01, 10.0)
            return cls(radius, radius, radius, True)
        front, rear, half_width = (reader.number(key, 0.01, 10.0) for key in ("front", "rear", "half_width"))
        return cls(front, rear, half_width, False)


@dataclass(frozen=True)
class Lidar:
    """Where the scanner sits, and which share of its beams must be readable.

    In m and rad, from the point that the body turns about.
    """

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    min_valid: float = 0.5

    @classmethod
    def read(cls, reader: Reader) -> Lidar:
        return cls(
            reader.number_or("x", 0.0, -10.0, 10.0),
            reader.number_or("y", 0.0, -10.0, 10.0),
            reader.number_or("yaw", 0.0, -7.0, 7.0),
            reader.number_or("min_valid", 0.5, 0.01, 1.0),
        )


@dataclass(frozen=True)
class Safety:
    """How the supervisor uses its inputs.

    `margin` is the free space it keeps (m). `action_age_s` is how old the observation behind an action may be before
    the robot slows down, `action_max_age_s` before nothing is done any more. After `auto_resume_s` healthy seconds a
    passed fault lets it go on by itself; None: never, somebody arms it again.
    """

    margin: float = 0.1
    action_age_s: float = 0.5
    auto_resume_s: float | None = None
    action_max_age_s: float = ACTION_MAX_AGE_S

    @classmethod
    def read(cls, reader: Reader) -> Safety:
        most = reader.number_or("action_max_age_s", ACTION_MAX_AGE_S, 0.5, 5.0)
        return cls(
            margin=reader.number_or("margin", 0.1, 0.02, 5.0),
            action_age_s=reader.number_or("action_age_s", 0.5, 0.05, most),
            auto_resume_s=reader.number("auto_resume_s", 0.5, 60.0) if reader.has("auto_resume_s") else None,
            action_max_age_s=most,
        )


@dataclass(frozen=True)
class Robot:
    """Identity, wiring and limits of one robot."""

    name: str
    site: str
    embodiment: str
    row: str
    l4t: str | None
    topics: dict[str, str]
    limits: Limits
    sources: dict[str, SourceSettings]
    battery_floor: float
    base_timeout_s: float
    base_response_s: float = 0.1
    """How long the base takes to follow a new command; part of every stopping distance."""
    footprint: Footprint | None = None
    """None only where no scan is present."""
    lidar: Lidar = Lidar()
    safety: Safety = Safety()
    stop_words: StopWords = field(default_factory=StopWords)
    """`[voice]`: the site's own words for stop, beside the built-in English ones."""
    sensors: Sensors = field(default_factory=Sensors)
    """What slots see and feel: cameras and joints."""

    @property
    def row_arch(self) -> str:
        """The key of this robot's image in a release, such as `process/amd64`."""
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return f"{self.row}/{arch}"

    @classmethod
    def load(cls, path: Path) -> Robot:
        """Read robot.toml. Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
        reader.schema()
        topics = dict(TOPICS)
        if reader.has("topics"):
            given = reader.child("topics")
            topics.update({key: given.text(key) for key in TOPICS if given.has(key)})
        sources = reader.child("sources")
        base = reader.child("base")
        robot = cls(
            name=reader.text("name"),
            site=reader.text("site"),
            embodiment=reader.text("embodiment"),
            row=reader.text("row"),
            l4t=reader.text("l4t") if reader.has("l4t") else None,
            topics=topics,
            limits=Limits.read(reader.child("limits")),
            sources={name: _source(sources, name) for name in SOURCES},
            battery_floor=reader.number("battery_floor", 0.0, 1.0),
            base_timeout_s=base.number("timeout_s", 0.01),
            base_response_s=base.number_or("response_s", 0.1, 0.0, 1.0),
            footprint=Footprint.read(reader.child("footprint")) if reader.has("footprint") else None,
            lidar=Lidar.read(reader.child("lidar")) if reader.has("lidar") else Lidar(),
            safety=Safety.read(reader.child("safety")) if reader.has("safety") else Safety(),
            stop_words=StopWords.read(reader.child("voice")) if reader.has("voice") else StopWords(),
            sensors=Sensors.read(reader, sources),
        )
        reader.done()
        if robot.footprint is None and robot.sources["scan"].present:
            raise UsageError(
                f"{path.name}.footprint: missing; a scan is of no use without it: give radius, or front, rear and "
                "half_width (m)"
            )
        if robot.base_timeout_s > MAX_BASE_TIMEOUT_S:
            raise UsageError(
                f"{path.name}.base.timeout_s: {robot.base_timeout_s} s is too long, at most {MAX_BASE_TIMEOUT_S} s; "
                "configure the base driver to stop sooner"
            )
        return robot


def _stamps(source: Reader) -> bool:
    return source.boolean("stamps") if source.has("stamps") else True


def _source(sources: Reader, name: str) -> SourceSettings:
    if name in _OPTIONAL_SOURCES and not sources.has(name):
        return SourceSettings(False, 0.0)
    return SourceSettings.read(sources.child(name))
