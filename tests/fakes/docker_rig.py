"""The rig of a robot with the docker runtime: the same agent and releases, with stand-ins for Docker and systemd on
PATH.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from tests.fakes import docker
from tests.fakes.rig import SITE, Rig
from tests.fakes.robot import ARCH

ROW_ARCH = f"cpu/{ARCH}"
DEVICE = Digest.of(b"device")
IMAGE_BYTES = 1000
LABELS = {"dev.homeport.row": "cpu", "dev.homeport.arch": ARCH, "dev.homeport.l4t": ""}


def layer(version: str) -> bytes:
    return f"layer of {version}".encode()


def configuration(version: str) -> bytes:
    return dump({"rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer(version)))]}})


def image_id(version: str) -> Digest:
    """Docker's ID of the image of a version."""
    return Digest.of(configuration(version))


def manifest_of(version: str) -> Digest:
    """What a release calls that image."""
    return DEVICE if version == "device" else Digest.of(f"manifest {version}".encode())


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
        self.add_image(DEVICE, "device")
        (self.bin / "images" / image_id("device").hex).symlink_to(self.bin / "registry" / DEVICE.hex)

    def add_image(
        self, digest: Digest, version: str, behaviour: dict[str, object] | None = None, **labels: str
    ) -> None:
        """Put an image into the registry that the stand-in pulls from."""
        folder = self.bin / "registry" / digest.hex
        shutil.copytree(SITE, folder / "site")
        (folder / "layer").write_bytes(layer(version))
        (folder / "config.json").write_bytes(configuration(version))
        (folder / "where").write_text(str(folder))
        (folder / "site/stack/policy/behaviour.json").write_text(json.dumps(behaviour or {}))
        named = {f"dev.homeport.{name}": value for name, value in labels.items()}
        facts = {
            "Id": str(image_id(version)),
            "Architecture": ARCH,
            "Config": {"Labels": {**LABELS, **named}},
            "Size": IMAGE_BYTES,
        }
        (folder / "image.json").write_text(json.dumps(facts))

    def publish(  # type: ignore[override]
        self,
        version: str,
        behaviour: dict[str, object] | None = None,
        change: Callable[[dict[str, Any]], None] | None = None,
        **labels: str,
    ) -> str:
        manifest, config = manifest_of(version), image_id(version)
        self.add_image(manifest, version, behaviour, **labels)
        image = {"repository": "homeport/stack", "digest": str(manifest), "config_digest": str(config), "lock": None}

        def containers(fields: dict[str, Any]) -> None:
            fields["images"], fields["compatibility"]["rows"] = {ROW_ARCH: image}, ["cpu"]
            if change is not None:
                change(fields)

        return super().publish(version, change=containers)

    def calls(self, *begin: str) -> list[list[str]]:
        """The command lines that begin with these words."""
        return [call for call in docker.calls(self.bin) if call[: len(begin)] == list(begin)]

    def lose_image(self, release: str) -> None:
        """Docker has lost it, with its names and the containers that pinned it."""
        self.forget_image(self.versions[release])

    def forget_image(self, version: str) -> None:
        (self.bin / "images" / image_id(version).hex).unlink()
        for folder in ("tags", "created"):
            for path in (self.bin / folder).iterdir():
                if manifest_of(version).hex in f"{path.name} {path.read_text()}":
                    path.unlink()

    def damage_image(self, release: str) -> None:
        """Docker lists it, and layers of it are gone."""
        (self.bin / "damaged" / image_id(self.versions[release]).hex).touch()

    def copy_of(self, release: str) -> Path:
        return self.layout.images / f"{manifest_of(self.versions[release]).hex}.tar"

    def wait_copied(self, release: str) -> None:
        self.until(self.copy_of(release).with_suffix(".json").exists, "the image was copied")

    def cut_off(self) -> None:
        super().cut_off()
        (self.bin / "pull_error").write_text("no network")

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for slot in ("a", "b"):
            docker.kill(docker.container(f"homeport-slot-{slot}", self.bin)[1:])
