"""Where things are on a robot. The only place that joins these paths; docs/interfaces.md has the table."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.digest import Digest

SLOTS = ("a", "b")


@dataclass(frozen=True)
class Layout:
    """Paths below one root. `Layout.default()` is a real robot; `Layout.at(dir)` moves everything below `dir`."""

    root: Path
    etc: Path
    run: Path

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

    def release(self, digest: Digest) -> Path:
        return self.root / "releases" / digest.hex

    def slot(self, slot: str) -> Path:
        return self.root / "slots" / slot

    @property
    def current(self) -> Path:
        return self.root / "current"

    @property
    def previous(self) -> Path:
        return self.root / "previous"

    @property
    def fallback(self) -> Path:
        return self.root / "fallback"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def floor(self) -> Path:
        return self.root / "floor.json"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine.json"

    @property
    def claim(self) -> Path:
        return self.root / "claim.lock"

    @property
    def serving(self) -> Path:
        return self.root / "serve.lock"

    def model(self, digest: Digest) -> Path:
        return self.root / "models" / digest.hex

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def engines(self) -> Path:
        return self.root / "engines"

    @property
    def ingest(self) -> Path:
        return self.root / "ingest"

    def environment(self, lock: Digest) -> Path:
        return self.root / "envs" / lock.hex

    @property
    def robot_toml(self) -> Path:
        return self.etc / "robot.toml"

    @property
    def agent_toml(self) -> Path:
        return self.etc / "agent.toml"

    @property
    def keys(self) -> Path:
        return self.etc / "keys"

    @property
    def dds_profile(self) -> Path:
        return self.etc / "dds.xml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def slot_status(self, slot: str) -> Path:
        return self.run / f"slot-{slot}" / "status.json"

    def slot_process(self, slot: str) -> Path:
        return self.run / f"slot-{slot}.process.json"

    def slot_log(self, slot: str) -> Path:
        return self.logs / f"slot-{slot}.log"

    @property
    def control_socket(self) -> Path:
        return self.run / "control" / "control.sock"

    @property
    def operator_socket(self) -> Path:
        return self.run / "operator" / "operator.sock"

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"


def linked_release(path: Path) -> Digest | None:
    """The release that `slots/x`, `current`, `previous` or `fallback` leads to, or None when there is none."""
    if not path.is_symlink():
        return None
    name = path.resolve().name
    return Digest.parse(f"sha256:{name}", str(path))


def linked_slot(layout: Layout) -> str | None:
    """The slot that `current` names, or None before the first COMMIT."""
    if not layout.current.is_symlink():
        return None
    name = layout.current.readlink().name
    return name if name in SLOTS else None
