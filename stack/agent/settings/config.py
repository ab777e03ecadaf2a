"""What `agent.toml` says: where releases come from, and how long the gates look.

runtime = "process"
source = "oci:/srv/homeport/registry"       # where `stage` fetches from unless told otherwise; mirrors first: "A, B"
repository = "releases/pilot"
domain_id = 41                              # ROS_DOMAIN_ID of every slot, 0 to 232
device_python = "/opt/homeport/bin/python"  # runtime process: fetches releases before their own code is here
device_path = []                            # runtime process: PYTHONPATH entries for it
# runtime docker: what fetches releases there, as an image that is on the robot
device_image = "registry.example.org/homeport/stack@sha256:…"
gpu = "none"                                # runtime docker, optional: "runtime" and "cdi" give the slots an NVIDIA GPU
memory_mib = 6144                           # optional: what the slots may take together, where less than is available
slot_nice = -5                              # runtime process, optional: nice value of the slots, where permitted
slot_weight = 400                           # runtime docker, optional: their weight on the processor; others have 100
[environment]                               # added to every slot
[gate]                                      # all optional
shadow_s = 2.0
probation_s = 30.0
ready_s = 60.0
restore_s = 0.4
[permission]                                # all optional: what the robot has to be before it is changed
battery_min = 0.2
lease_s = 60.0
[channel]                                   # optional: what an expired record, or a release below its min_version, does
outdated = "warn"                           # or "refuse"
[fetch]                                     # all optional
limit_rate = "20M"                          # at most so many bytes a second, for models and releases
give_up_s = 14400.0                         # how long a stage waits for a link that it lost
[hook]                                      # optional: the program that says if the robot may be touched (hook.py)
command = ["/opt/site/may-change"]
[[windows]]                                 # optional: when it may be switched (windows.py)
days = ["mon-fri"]
at = "02:00"
for = "3h"
tz = "Europe/Berlin"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from model_registry.core.addresses import registries
from model_registry.core.documents import Reader, as_text
from model_registry.core.domain import check_domain
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.release import check_name
from model_registry.core.toml import read_toml
from stack.agent.settings.hook import Hook
from stack.agent.settings.windows import Window

GPU = ("none", "runtime", "cdi")
OUTDATED = ("warn", "refuse")
_ONLY = {
    "process": ("device_python", "device_path", "slot_nice"),
    "docker": ("device_image", "gpu", "slot_weight"),
}
_DAY_S = 86_400.0
_CHANGE_S = 300.0 + 600.0 + 30.0
"""Of a change in which nothing warms up: with an image that is loaded from its copy, and a hook that hesitates."""
_RATE = re.compile(r"[0-9]+(\.[0-9]+)?[KMGkmg]?")
_IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How long the gates look, in seconds.

    A candidate has `ready_s` to be healthy for `shadow_s` in a row; then it drives for `probation_s` before COMMIT.
    What is brought back counts as back when it was healthy for `restore_s` in a row.
    """

    shadow_s: float = 2.0
    probation_s: float = 30.0
    ready_s: float = 60.0
    restore_s: float = 0.4

    @classmethod
    def read(cls, reader: Reader) -> GateSettings:
        given = [field.name for field in fields(cls) if reader.has(field.name)]
        return cls(**{key: reader.number(key, 0.0, _DAY_S) for key in given})


@dataclass(frozen=True, slots=True)
class PermissionSettings:
    """What a robot has to be before it is changed.

    Its battery is charged to `battery_min` (a fraction) at least. The permission holds for `lease_s` seconds, unless
    its hook names another time.
    """

    battery_min: float = 0.2
    lease_s: float = 60.0

    @classmethod
    def read(cls, reader: Reader) -> PermissionSettings:
        """Raises UsageError naming the key."""
        default = cls()
        return cls(
            reader.number_or("battery_min", default.battery_min, 0.0, 1.0),
            reader.number_or("lease_s", default.lease_s, 0.0, _DAY_S),
        )


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Whether what is `outdated` is only said ("warn") or refused: a record that has expired, a release too old."""

    outdated: str = "warn"

    @classmethod
    def read(cls, reader: Reader) -> ChannelSettings:
        """Raises UsageError naming the key."""
        return cls(reader.text_or("outdated", "warn", OUTDATED))


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How releases and models come: at most `limit_rate` (bytes a second, such as 20M, as text), and for how many
    seconds a stage waits for a registry that it has lost.
    """

    limit_rate: str | None = None
    give_up_s: float = 4 * 3600.0

    @classmethod
    def read(cls, reader: Reader) -> FetchSettings:
        """Raises UsageError naming the key."""
        limit = reader.text("limit_rate") if reader.has("limit_rate") else None
        if limit is not None and not _RATE.fullmatch(limit):
            raise UsageError(f"{reader.path}.limit_rate: expected bytes a second such as 500K or 20M, got {limit!r}")
        return cls(limit, reader.number_or("give_up_s", cls().give_up_s, 0.0, _DAY_S))

    @property
    def environment(self) -> dict[str, str]:
        """What tools are told; older ones do not hear it."""
        told = {"HOMEPORT_PROGRESS": "1"}
        return told if self.limit_rate is None else {**told, "HOMEPORT_LIMIT_RATE": self.limit_rate}


@dataclass(frozen=True, slots=True)
class Config:
    """A parsed agent.toml; `device_python` is set for runtime process, `device_image` for runtime docker."""

    runtime: str
    source: str
    repository: str
    domain_id: int
    device_python: Path | None
    device_path: tuple[str, ...]
    device_image: str | None
    gpu: str
    memory_mib: int | None
    slot_nice: int
    slot_weight: int | None
    environment: dict[str, str]
    gate: GateSettings
    permission: PermissionSettings
    channel: ChannelSettings
    fetch: FetchSettings
    hook: Hook | None
    windows: tuple[Window, ...]

    @classmethod
    def load(cls, path: Path) -> Config:
        """Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
        reader.schema()
        config = cls(
            runtime=(runtime := reader.text("runtime", _ONLY)),
            source=reader.text("source"),
            repository=check_name(reader.text("repository"), f"{path.name}.repository"),
            domain_id=check_domain(reader.integer("domain_id"), f"{path.name}.domain_id"),
            device_python=Path(reader.text("device_python")) if runtime == "process" else None,
            device_path=reader.texts("device_path") if reader.has("device_path") else (),
            device_image=reader.text("device_image") if runtime == "docker" else None,
            gpu=reader.text("gpu", GPU) if reader.has("gpu") else "none",
            memory_mib=reader.integer("memory_mib", 1) if reader.has("memory_mib") else None,
            slot_nice=int(reader.number("slot_nice", -20, 19)) if reader.has("slot_nice") else 0,
            slot_weight=int(reader.number("slot_weight", 1, 10_000)) if reader.has("slot_weight") else None,
            environment=reader.table("environment", as_text) if reader.has("environment") else {},
            gate=GateSettings.read(reader.child("gate")) if reader.has("gate") else GateSettings(),
            permission=(
                PermissionSettings.read(reader.child("permission"))
                if reader.has("permission")
                else PermissionSettings()
            ),
            channel=ChannelSettings.read(reader.child("channel")) if reader.has("channel") else ChannelSettings(),
            fetch=FetchSettings.read(reader.child("fetch")) if reader.has("fetch") else FetchSettings(),
            hook=Hook.read(reader.child("hook")) if reader.has("hook") else None,
            windows=reader.objects("windows", Window.read) if reader.has("windows") else (),
        )
        for key in next(keys for name, keys in _ONLY.items() if name != runtime):
            if reader.has(key):
                raise UsageError(f"{path.name}.{key}: not for runtime {runtime}; remove it")
        reader.done()
        config.check(path.name)
        return config

    def check(self, name: str) -> None:
        """What several keys of `name` say together. Raises UsageError."""
        if "ROS_DOMAIN_ID" in self.environment:
            raise UsageError(f"{name}.environment: ROS_DOMAIN_ID is domain_id for all of the robot; set that one")
        if "@" in self.source:
            raise UsageError(f"{name}.source: carries a login, which everybody could read; use homeport_registry_login")
        if self.runtime == "docker" and not registries(self.source):
            raise UsageError(f"{name}.source: runtime docker pulls images from https://HOST, not {self.source!r}")
        if self.device_image is not None and not _IMAGE.fullmatch(self.device_image):
            raise UsageError(f"{name}.device_image: expected HOST[:PORT]/NAME@sha256:…, got {self.device_image!r}")


def change_s(path: Path) -> float:
    """How long a client waits for a change that goes well and slowly, by the robot's settings.

    Settings that cannot be read stop no rollback.
    """
    try:
        gate = Config.load(path).gate
    except (HomeportError, OSError):
        gate = GateSettings()
    return _CHANGE_S + 2 * gate.ready_s
