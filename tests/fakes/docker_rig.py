"""The rig of a robot with the docker runtime: the same agent and releases, with stand-ins for Docker and systemd on PATH."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from model_registry.core.digest import Digest
from tests.fakes import docker
from tests.fakes.rig import SITE, Rig
from tests.fakes.robot import ARCH

ROW_ARCH = f"cpu/{ARCH}"
DEVICE = Digest.of(b"device")
LABELS = {"dev.homeport.row": "cpu", "dev.homeport.arch": ARCH, "dev.homeport.l4t": ""}


class DockerRig(Rig):
    """`bin` is the folder that must come first on PATH before `with DockerRig(…)`."""

    def _write_settings(self) -> None:
        super()._write_settings()
        self.bin = docker.install(self.root.parent / "bin")
        (self.bin / "source").write_text(f"oci:{self.source}")
        (self.bin / "agent.json").write_text(
            json.dumps([sys.executable, "-m", "stack.agent", "--root", str(self.root)])
        )
        self.layout.robot_toml.write_text(self.layout.robot_toml.read_text().replace('"process"', '"cpu"'))
        self.layout.dds_profile.write_text("<dds/>")
        reference = f"registry.test:5000/homeport/stack@{DEVICE}"
        settings = self.layout.agent_toml.read_text().replace('"process"', '"docker"')
        settings = settings.replace(f'"oci:{self.source}"', f'"{docker.SOURCE}"')
        kept = [line for line in settings.splitlines() if not line.startswith("device_")]
        self.layout.agent_toml.write_text("\n".join([f'device_image = "{reference}"', *kept]))
        self.add_image(DEVICE, Digest.of(b"device config"))
        (self.bin / "images" / Digest.of(b"device config").hex).symlink_to(self.bin / "registry" / DEVICE.hex)

    def add_image(
        self, digest: Digest, config: Digest, behaviour: dict[str, object] | None = None, **labels: str
    ) -> None:
        """Put an image into the registry that the stand-in pulls from."""
        folder = self.bin / "registry" / digest.hex
        shutil.copytree(SITE, folder / "site")
        (folder / "site/stack/policy/behaviour.json").write_text(json.dumps(behaviour or {}))
        named = {f"dev.homeport.{name}": value for name, value in labels.items()}
        facts = {"Id": str(config), "Architecture": ARCH, "Config": {"Labels": {**LABELS, **named}}}
        (folder / "image.json").write_text(json.dumps(facts))

    def publish(  # type: ignore[override]
        self,
        version: str,
        behaviour: dict[str, object] | None = None,
        change: Callable[[dict[str, Any]], None] | None = None,
        **labels: str,
    ) -> str:
        manifest, config = (Digest.of(f"{kind} {version}".encode()) for kind in ("manifest", "config"))
        self.add_image(manifest, config, behaviour, **labels)
        image = {"repository": "homeport/stack", "digest": str(manifest), "config_digest": str(config), "lock": None}

        def containers(fields: dict[str, Any]) -> None:
            fields["images"], fields["compatibility"]["rows"] = {ROW_ARCH: image}, ["cpu"]
            if change is not None:
                change(fields)

        return super().publish(version, change=containers)

    def calls(self, *begin: str) -> list[list[str]]:
        """The command lines that begin with these words."""
        return [call for call in docker.calls(self.bin) if call[: len(begin)] == list(begin)]

    def forget_image(self, version: str) -> None:
        (self.bin / "images" / Digest.of(f"config {version}".encode()).hex).unlink()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for slot in ("a", "b"):
            note = self.bin / "containers" / f"homeport-slot-{slot}"
            if note.exists():
                for pid in note.read_text().split()[1:]:
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
