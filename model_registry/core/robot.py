"""What is true of one robot, whatever release it runs: `/etc/homeport/robot.toml`, written by the role `device` from the inventory."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from model_registry.core.toml import read_toml

SOURCES = ("scan", "odom", "battery")
TOPICS = {
    "camera": "/camera/image_raw",
    "scan": "/scan",
    "odom": "/odom",
    "battery": "/battery_state",
    "voice": "/voice_command",
    "cmd_vel": "/cmd_vel",
}
MAX_BASE_TIMEOUT_S = 0.25
_TEGRA = re.compile(r"# R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)")


def l4t_of(release: Path) -> str | None:
    """The L4T release in /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, …` is 36.4.3. None where there is no such file, `unknown` for any other text."""
    if not release.is_file():
        return None
    found = _TEGRA.match(release.read_text(errors="replace"))
    return "unknown" if found is None else f"{found[1]}.{found[2]}"


@dataclass(frozen=True)
class Limits:
    """Largest commanded speeds and their slopes: m/s, rad/s, m/s², rad/s²."""

    linear: float
    angular: float
    linear_acceleration: float
    angular_acceleration: float

    @classmethod
    def read(cls, reader: Reader) -> Limits:
        return cls(
            reader.number("linear", 0.0, 20.0),
            reader.number("angular", 0.0, 20.0),
            reader.number("linear_acceleration", 0.01, 100.0),
            reader.number("angular_acceleration", 0.01, 100.0),
        )


@dataclass(frozen=True)
class Source:
    """One input of the supervisor. A source that is not `present` is declared absent; any other missing source stops the robot."""

    present: bool
    max_age_ms: float

    @classmethod
    def read(cls, reader: Reader) -> Source:
        present = reader.boolean("present")
        return cls(present, reader.number("max_age_ms", 1.0, 600_000.0) if present else 0.0)


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
    sources: dict[str, Source]
    battery_floor: float
    base_timeout_s: float

    @property
    def row_arch(self) -> str:
        """The key of this robot's image in a release, such as `process/amd64`."""
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return f"{self.row}/{arch}"

    @classmethod
    def load(cls, path: Path) -> Robot:
        """Read robot.toml. Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
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
            sources={name: Source.read(sources.child(name)) for name in SOURCES},
            battery_floor=reader.number("battery_floor", 0.0, 1.0),
            base_timeout_s=base.number("timeout_s", 0.01),
        )
        reader.done()
        if robot.base_timeout_s > MAX_BASE_TIMEOUT_S:
            raise UsageError(
                f"{path.name}.base.timeout_s: {robot.base_timeout_s} s is too long, at most {MAX_BASE_TIMEOUT_S} s; configure the base driver to stop sooner"
            )
        return robot
