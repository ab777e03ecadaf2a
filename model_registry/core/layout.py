"""Where things are on a robot. The only place that joins these paths; docs/interfaces.md has the table."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError

SLOTS = ("a", "b")
FOLDERS = ("releases", "slots", "models", "engines", "ingest", "logs", "images")
"""Below ROOT. Each may be a mount of its own; a robot that never had an image to keep lacks the last one."""


class _Below:
    """A fixed path below a path attribute of its owner, such as `root` of a layout, as an attribute of that."""

    def __init__(self, base: str, *parts: str) -> None:
        self._base = base
        self._parts = parts

    def __get__(self, owner: Layout | ReleaseFolder, kind: object = None) -> Path:
        base: Path = getattr(owner, self._base)
        return base.joinpath(*self._parts)


@dataclass(frozen=True)
class ReleaseFolder:
    """The folder of one release: staged, or on its way. Nobody else spells what is in it.

    `model` and `engine` are links to folders that releases share; `site` is there on a robot of row `process` only.
    """

    path: Path

    document = _Below("path", "release.json")
    """What the digest of the release is of."""
    envelope = _Below("path", "release.dsse.json")
    """The document and its signatures."""
    wheel = _Below("path", "image.whl")
    """The code of row `process`, while it is on its way."""
    model = _Below("path", "model")
    engine = _Below("path", "engine")
    engine_ready = _Below("path", "engine", "ready")
    """Written last, when the engine is whole."""
    proof = _Below("path", "prove.json")
    """What the gate `prove` found on this device."""
    site = _Below("path", "site")
    """The unpacked code of row `process`."""

    def __str__(self) -> str:
        return str(self.path)

    def lacks(self) -> list[str]:
        """What is not there of all that a release of any row needs."""
        needed = (self.document, self.envelope, self.model / "vla.json", self.engine_ready, self.proof)
        return [str(path.relative_to(self.path)) for path in needed if not path.exists()]


@dataclass(frozen=True)
class Layout:
    """Paths below one root. `Layout.default()` is a real robot; `Layout.at(dir)` moves everything below `dir`."""

    root: Path
    etc: Path
    run: Path

    current = _Below("root", "current")
    previous = _Below("root", "previous")
    fallback = _Below("root", "fallback")
    journal = _Below("root", "journal.jsonl")
    floor = _Below("root", "floor.json")
    quarantine = _Below("root", "quarantine.json")
    revoked = _Below("root", "revoked.json")
    trust = _Below("root", "trust")
    """The trust documents that this robot has accepted, `<number>.dsse.json`."""
    models = _Below("root", "models")
    engines = _Below("root", "engines")
    releases = _Below("root", "releases")
    ingest = _Below("root", "ingest")
    logs = _Below("root", "logs")
    images = _Below("root", "images")
    reserve = _Below("root", "reserve")
    robot_toml = _Below("etc", "robot.toml")
    agent_toml = _Below("etc", "agent.toml")
    keys = _Below("etc", "keys")
    registry_ca = _Below("etc", "registry-ca.crt")
    docker_config = _Below("etc", "docker")
    dds_profile = _Below("etc", "dds.xml")
    tegra_release = _Below("etc", "..", "nv_tegra_release")
    power_mode = _Below("root", "..", "nvpmodel")
    control_socket = _Below("run", "control", "control.sock")
    latched = _Below("run", "control", "latched.json")
    operator_socket = _Below("run", "operator", "operator.sock")
    agent_socket = _Below("run", "agent.sock")
    claim = _Below("run", "claim.json")
    serving = _Below("run", "serve.json")

    @classmethod
    def default(cls) -> Layout:
        return cls(Path("/var/lib/homeport"), Path("/etc/homeport"), Path("/run/homeport"))

    @classmethod
    def at(cls, root: Path | None) -> Layout:
        """`root=None` is the default layout."""
        if root is None:
            return cls.default()
        real = root.resolve()
        short = hashlib.sha256(str(real).encode()).hexdigest()[:10]
        return cls(real, real / "etc", Path(f"/tmp/homeport-{os.getuid()}-{short}"))

    @property
    def options(self) -> tuple[str, ...]:
        """What tells a program of ours to use this layout: nothing on a real robot."""
        return () if self == Layout.default() else ("--root", str(self.root))

    @property
    def disks(self) -> tuple[Path, ...]:
        """ROOT and those of its folders that are there: the places in which a disk can be full."""
        return (self.root, *(path for name in FOLDERS if (path := self.root / name).is_dir()))

    @property
    def efivars(self) -> Path:
        """Variables of the firmware, as the kernel shows them."""
        return Path("/sys/firmware/efi/efivars") if self == Layout.default() else self.root / "efivars"

    def release(self, digest: Digest) -> ReleaseFolder:
        return ReleaseFolder(self.releases / digest.hex)

    def slot(self, slot: str) -> Path:
        return self.root / "slots" / slot

    def model(self, digest: Digest) -> Path:
        return self.models / digest.hex

    def environment(self, lock: Digest) -> Path:
        return self.root / "envs" / lock.hex

    def slot_status(self, slot: str) -> Path:
        return self.run / f"slot-{slot}" / "status.json"

    def slot_process(self, slot: str) -> Path:
        return self.run / f"slot-{slot}.process.json"

    def slot_log(self, slot: str) -> Path:
        return self.logs / f"slot-{slot}.log"


def linked_release(path: Path) -> Digest | None:
    """The release that `slots/x`, `current`, `previous` or `fallback` leads to, or None when there is none."""
    if not path.is_symlink():
        return None
    try:
        return Digest.parse(f"sha256:{path.resolve().name}", str(path))
    except (UsageError, OSError, RuntimeError):  # Python before 3.13 calls a circle of links a RuntimeError
        return None


def linked_slot(layout: Layout) -> str | None:
    """The slot that `current` names, or None before the first COMMIT."""
    if not layout.current.is_symlink():
        return None
    name = layout.current.readlink().name
    return name if name in SLOTS else None
