"""What `agent.toml` says: where releases come from, and how long the gates look.

runtime = "process"
source = "oci:/srv/homeport/registry"       # where `stage` fetches from unless told otherwise
repository = "releases/pilot"
domain_id = 41                              # ROS_DOMAIN_ID of every slot
device_python = "/opt/homeport/bin/python"  # fetches releases before their own code is here
device_path = []                            # PYTHONPATH entries for it
[environment]                               # added to every slot
[gate]                                      # all optional
battery_min = 0.2
shadow_s = 2.0
probation_s = 30.0
ready_s = 60.0
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_registry.core.documents import Reader, as_text
from model_registry.core.release import check_name
from model_registry.core.toml import read_toml

RUNTIMES = ("process",)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`battery_min` is a fraction; a candidate has `ready_s` to be healthy for `shadow_s` in a row; then it drives for `probation_s` before COMMIT."""

    battery_min: float = 0.2
    shadow_s: float = 2.0
    probation_s: float = 30.0
    ready_s: float = 60.0

    @classmethod
    def read(cls, reader: Reader) -> GateSettings:
        def number(key: str, default: float, maximum: float = 86_400.0) -> float:
            return reader.number(key, 0.0, maximum) if reader.has(key) else default

        default = cls()
        settings = cls(
            number("battery_min", default.battery_min, 1.0),
            number("shadow_s", default.shadow_s),
            number("probation_s", default.probation_s),
            number("ready_s", default.ready_s),
        )
        reader.done()
        return settings


@dataclass(frozen=True, slots=True)
class Config:
    """A parsed agent.toml."""

    runtime: str
    source: str
    repository: str
    domain_id: int
    device_python: Path
    device_path: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    gate: GateSettings = field(default_factory=GateSettings)

    @classmethod
    def load(cls, path: Path) -> Config:
        """Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
        config = cls(
            runtime=reader.text("runtime", RUNTIMES),
            source=reader.text("source"),
            repository=check_name(reader.text("repository"), f"{path.name}.repository"),
            domain_id=reader.integer("domain_id"),
            device_python=Path(reader.text("device_python")),
            device_path=reader.texts("device_path") if reader.has("device_path") else (),
            environment=reader.table("environment", as_text) if reader.has("environment") else {},
            gate=GateSettings.read(reader.child("gate")) if reader.has("gate") else GateSettings(),
        )
        reader.done()
        return config
