"""Slots as containers of the systemd units `homeport-slot@a` and `@b`, which run `homeport-agent run-slot`.

A slot is recognised by the policy's process, not by Docker.

Everything is started by image ID with `--pull never`; nothing in a container can write but to the folders that it is
given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, parse
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError, RefusedError
from model_registry.core.files import Files
from model_registry.core.layout import FOLDERS, Layout, ReleaseFolder
from model_registry.core.release import Release, check_image, image_l4t
from model_registry.core.robot import Robot
from stack.agent.machine.child import Program, SilentError, ask
from stack.agent.machine.processes import Notes, ProcessId
from stack.agent.machine.room import Need, check_room
from stack.agent.reports import Removed
from stack.agent.runtime import Fetched, check_mounted, containers, image_of
from stack.agent.runtime.archives import Archives
from stack.agent.runtime.containers import TOOL, USER, check_engine, container, policy_of, unit
from stack.agent.runtime.images import Images
from stack.agent.runtime.pull_image import pull_image
from stack.agent.settings.config import Config

_START_S = 30.0
_ALIVE_S = 3.0
"""How long a status waits for Docker to say anything."""
_INFO_S = 15.0
"""How long a change waits for that: a busy Docker is slow, and refuses nothing for it."""
_SILENT_S = 5.0
"""How long a Docker that said nothing is not asked again by who only wants to know whether an image is here."""
_STOP_S = 15.0
_LOG_S = 5.0
_ROOM = 2.2
"""Room that a pull needs for each compressed byte: the layers as they came and unpacked."""
_KEPT = ("DOCKER_CONFIG", "DOCKER_HOST", "HOME", "LANG", "PATH")


class DockerRuntime:
    """Every row but `process`: the image by its digest, from the registry that the release came from."""

    def __init__(self, layout: Layout, config: Config, files: Files) -> None:
        self._layout, self._config, self._files = layout, config, files
        self._empty: set[str] = set()
        """Slots that were seen empty; nobody but this agent starts one."""
        self._call = ask
        self._silent_until_s = 0.0
        self._notes = Notes(layout)
        self._archives = Archives(layout.images, files)
        self._images = Images(self._archives, ask)
        self._device = str(config.device_image)
        self._device_digest = Digest.parse(self._device.rpartition("@")[2], "device_image")

    def preflight(self) -> None:
        self._info()
        check_mounted(self._layout, FOLDERS)
        if self._device_found() is None:
            raise IncompatibleError(f"{self._device}: not on this robot; apply the role `device`")
        engines = self._layout.engines
        for path in (self._layout.models, engines, self._layout.ingest, *engines.glob(".lock")):  # prune makes it too
            self._give(path, USER)

    def trouble(self) -> str | None:
        try:
            self._info(_ALIVE_S)
        except HomeportError as error:
            self._silent_until_s = time.monotonic() + _SILENT_S
            return str(error)
        self._silent_until_s = 0.0
        return None

    def check(self, release: Release) -> None:
        """Also whether its image fits, when it is here already."""
        image_of(self._layout, release)
        self._info()
        if self._image_id(release) is not None:
            self._check_image(release)

    def installed(self, release: Release, folder: ReleaseFolder) -> bool:
        try:
            kept = self._archives.find(image_of(self._layout, release).digest) is not None
            if kept or time.monotonic() < self._silent_until_s:
                return kept
            return self._image_id(release) is not None
        except SilentError:
            self._silent_until_s = time.monotonic() + _SILENT_S
            return False
        except HomeportError:
            return False

    def ensure(self, release: Release) -> None:
        """Also the device's own image, when Docker has lost it: nothing drives without a supervisor."""
        image = image_of(self._layout, release)
        self._images.restore(image.digest, (image.config_digest, image.digest), f"release {release.version}: its image")
        if self._device_found() is None and (copy := self._archives.find(self._device_digest)) is not None:
            self._images.restore(self._device_digest, (copy.identity,), f"{self._device}: the device's own image")

    def room(self, compressed_bytes: int) -> tuple[Need, ...]:
        needed, docker = int(_ROOM * compressed_bytes), Path(self._info().text("DockerRootDir"))
        return Need(self._layout.images, "a copy of its image", needed), Need(docker, "its image", needed)

    def copy(self, release: Release, rest: Callable[[], None]) -> None:
        """Also the device's own image."""
        image = image_of(self._layout, release)
        self._images.copy(image.digest, (image.config_digest, image.digest), rest)
        if self._archives.find(self._device_digest) is None and (device := self._device_found()) is not None:
            self._images.copy(self._device_digest, (device[1].digest("Id"),), rest)

    def prune(self, kept: Collection[Digest], dry_run: bool) -> list[Removed]:
        return self._images.prune({*kept, self._device_digest}, dry_run)

    def install(self, release: Release, fetched: Fetched) -> None:
        """Pull the image and check what came.

        Raises IntegrityError, IncompatibleError or RefusedError; a slot is never touched.
        """
        image = image_of(self._layout, release)
        if (identity := self._image_id(release)) is not None and not self._images.pin(image.digest, identity):
            self._images.forget(image.digest, identity, "--force")
        if self._image_id(release) is None:
            self._check_room(fetched.image_bytes)
            name = f"{image.repository}@{image.digest}"
            reference = pull_image(self._call, self._layout.docker_config, fetched.source, name)
            if (identity := self._image_id(release)) is None:
                found = self._images.inspect(reference)
                came = found.text("Id") if found is not None else "unknown"
                raise IntegrityError(
                    f"{reference}: its image ID is {came}, the release names {image.config_digest}; create the "
                    "release again"
                )
            self._images.pin(image.digest, identity)
        self._check_image(release)
        for path in (fetched.folder.path, *fetched.folder.path.iterdir()):
            self._give(path, 0)

    def device_tool(self, module: str, *arguments: str) -> Program:
        name = found[0] if (found := self._device_found()) is not None else self._device
        return self._command(*containers.device_argv(self._layout, self._config, name), module, *arguments)

    def tool(self, release: Release, module: str, *arguments: str) -> Program:
        image = self._required(release)
        return self._command(*containers.tool_argv(self._layout, self._config, release, image), module, *arguments)

    def slot(self, slot: str, release: Release) -> Program:
        """What the slot's unit runs."""
        return self._command(*containers.slot_argv(self._layout, self._config, release, slot, self._required(release)))

    def start(self, slot: str, release: Release) -> ProcessId:
        self.stop(slot)
        self.ensure(release)
        self._empty.discard(slot)
        image, status = self._required(release), self._layout.slot_status(slot)
        self._files.make_folder(status.parent)
        self._give(status.parent, USER)
        status.unlink(missing_ok=True)
        self._call("systemctl", "start", unit(slot))
        deadline = time.monotonic() + _START_S
        while (found := self._policy(slot, image)) is None:
            shown = self._call("systemctl", "show", "--property", containers.STATE_OF_UNIT, unit(slot))
            containers.check_starts(slot, shown, time.monotonic() >= deadline, lambda: self.log_tail(slot, 1))
            time.sleep(0.1)
        identity, host_pid = found
        self._notes.note(slot, identity, host_pid)
        return identity

    def stop(self, slot: str) -> None:
        """The unit stops the container; what is left of it is removed. Raises HomeportError when that does not help."""
        if slot in self._empty and self.alive(slot) is None:
            return
        self._call("systemctl", "stop", unit(slot), timeout_s=60.0)
        listed = ("docker", "container", "ls", "--all", "--quiet", "--filter", f"name=^/?{container(slot)}$")
        deadline = time.monotonic() + _STOP_S
        while self._call(*listed).strip() or self.alive(slot) is not None:
            if time.monotonic() >= deadline:
                raise HomeportError(f"slot {slot}: its container does not end; look at the robot")
            with suppress(HomeportError):
                self._call("docker", "rm", "--force", container(slot))
            time.sleep(0.1)
        self._notes.forget(slot)
        self._empty.add(slot)

    def alive(self, slot: str) -> ProcessId | None:
        return self._notes.find(slot)

    def log_tail(self, slot: str, count: int) -> list[str]:
        try:
            words = ("journalctl", "-u", unit(slot), "-n", str(count), "-o", "cat", "--no-pager")
            text = self._call(*words, timeout_s=_LOG_S)
        except HomeportError:
            return []
        return [line[:300] for line in text.splitlines()[-count:]]

    def _policy(self, slot: str, image: str) -> tuple[ProcessId, int] | None:
        """The process of the slot's container; None until there is one.

        Raises IntegrityError when it runs another image.
        """
        try:
            seen = self._call(
                "docker", "container", "inspect", "--format", "{{.Image}} {{.State.Pid}}", container(slot)
            )
        except HomeportError:
            return None
        running, pid = seen.split()
        if running != image:
            raise IntegrityError(f"slot {slot}: its container runs {running}, expected {image}; stop {unit(slot)}")
        return policy_of(int(pid)) if pid != "0" else None

    def _info(self, timeout_s: float = _INFO_S) -> Reader:
        """What Docker says of itself. Raises IncompatibleError when it cannot run what this robot needs."""
        try:
            data = self._call("docker", "info", "--format", "{{json .}}", timeout_s=timeout_s).encode()
        except SilentError as error:
            raise IncompatibleError(str(error)) from error
        except HomeportError as error:
            raise IncompatibleError(f"{error}; start it (systemctl start docker)") from error
        info = Reader(parse(data, "docker info"), "docker info")
        check_engine(info, self._config.gpu)
        return info

    def _image_id(self, release: Release) -> Digest | None:
        image = image_of(self._layout, release)
        return self._images.known(image.config_digest, image.digest)

    def _required(self, release: Release) -> str:
        if (identity := self._image_id(release)) is None:
            raise RefusedError(f"release {release.version}: its image is not on this robot; stage it again")
        return str(identity)

    def _device_found(self) -> tuple[str, Reader] | None:
        """The device's image, and what Docker says of it.

        It is found by its reference, or by our name, which is all that it has when it came from an archive.
        """
        names = (self._device, containers.pin(self._device_digest))
        return next(((name, found) for name in names if (found := self._images.inspect(name)) is not None), None)

    def _check_image(self, release: Release) -> None:
        robot = Robot.load(self._layout.robot_toml)
        name = self._required(release)
        what = f"release {release.version}: its image"
        if (found := self._images.inspect(name)) is not None:
            settings = found.child("Config")
            labels = settings.table("Labels", as_text) if settings.has("Labels") else {}
            here = robot.l4t or ("none" if image_l4t(labels) else None)
            check_image(what, labels, found.text("Architecture"), robot.row_arch, here)
            if labels.get("dev.homeport.cuda") and self._config.gpu == "none":
                raise IncompatibleError(
                    f'{what}: needs a GPU, and agent.toml says gpu = "none"; set homeport_gpu and apply the role '
                    "`device`"
                )

    def _check_room(self, compressed_bytes: int) -> None:
        check_room(Path(self._info().text("DockerRootDir")), {"the image": int(_ROOM * compressed_bytes)})

    def _give(self, path: Path, uid: int) -> None:
        """Only root can; elsewhere all is one user's."""
        if os.geteuid() == 0:
            os.chown(path, uid, uid, follow_symlinks=False)

    def _command(self, *argv: str) -> Program:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return Program(argv, environment, ("docker", "rm", "--force", TOOL))
