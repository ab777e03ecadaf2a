"""Slots as plain processes: detached from the agent, in sessions of their own, recognised by pid, start time and boot."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.files import Files, write_volatile
from model_registry.core.layout import Layout
from model_registry.core.release import Image, Release
from model_registry.core.robot import Robot
from stack.agent.config import Config
from stack.agent.journal import boot_id
from stack.agent.runtime import Command, Identity
from stack.agent.wheel import unpack

_STOP_S = 5.0
_LOG_BYTES = 8 << 20
_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
# The shell leaves the program to init and says its pid, without a fork of this threaded process.
_DETACH = 'exec 3>&1 >&2; "$@" 3>&- </dev/null & echo $! >&3'


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def detach_argv(argv: tuple[str, ...]) -> list[str]:
    """Run `argv` in the background of a shell that ends at once and prints its pid."""
    return ["/bin/sh", "-c", _DETACH, "sh", *argv]


class ProcessRuntime:
    """Row `process`: the wheel unpacked in `site/`, over the dependency environment of its lock file."""

    def __init__(self, layout: Layout, config: Config, files: Files) -> None:
        self._layout, self._config, self._files = layout, config, files

    def _image(self, release: Release) -> Image:
        row_arch = Robot.load(self._layout.robot_toml).row_arch
        if row_arch not in release.images:
            known = ", ".join(sorted(release.images))
            raise IncompatibleError(f"release {release.version}: has no image for {row_arch} (it has {known})")
        return release.images[row_arch]

    def _python(self, release: Release) -> Path:
        lock = self._image(release).lock
        if lock is None:
            raise IncompatibleError(
                f"release {release.version}: its image names no lock file; create the release again"
            )
        return self._layout.environment(lock) / "bin" / "python"

    def check(self, release: Release) -> None:
        python = self._python(release)
        if not python.exists():
            raise IncompatibleError(
                f"release {release.version}: {python.parent.parent} is not installed; apply the role `device` with this release's lock file"
            )

    def install(self, release: Release, fetched: Path) -> None:
        """Unpack `image.whl` of the folder into `site/` beside it, and drop the wheel. Raises IntegrityError."""
        wheel = fetched / "image.whl"
        self._image(release).digest.check_file(wheel, f"release {release.version}: image.whl")
        unpack(wheel, fetched / "site")
        wheel.unlink()

    def tool(self, release: Release, module: str, *arguments: str) -> Command:
        argv = (str(self._python(release)), "-m", module, *arguments)
        return Command(argv, self.environment(release))

    def environment(self, release: Release) -> dict[str, str]:
        """The whole environment of a release's processes (docs/interfaces.md)."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "ROS_DOMAIN_ID": str(self._config.domain_id),
            "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(self._layout.dds_profile),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "ROS_LOG_DIR": str(self._layout.logs / "ros"),
            "PYTHONPATH": str(self._layout.release(release.digest) / "site"),
            "PYTHONUNBUFFERED": "1",
            "HOMEPORT_RELEASE": str(release.digest),
            **self._config.environment,
        }

    def slot_command(self, slot: str, release: Release) -> Command:
        """How a slot's policy is started."""
        root = str(self._layout.root)
        command = self.tool(release, "stack.policy", "--slot", slot, "--root", root)
        return Command(command.argv, {**command.environment, "HOMEPORT_SLOT": slot})

    def start(self, slot: str, release: Release) -> Identity:
        command = self.slot_command(slot, release)
        status = self._layout.slot_status(slot)
        self._files.make_folder(status.parent)
        status.unlink(missing_ok=True)
        self._files.make_folder(self._layout.logs / "ros")
        with self._open_log(slot).open("ab") as log:
            done = subprocess.run(
                detach_argv(command.argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=command.environment,
                cwd="/",
                start_new_session=True,
                timeout=10,
                check=True,
            )
        pid = int(done.stdout)
        ticks = start_ticks(pid)
        if ticks is None:
            raise HomeportError(f"slot {slot}: the policy ended at once; read {self._layout.slot_log(slot)}")
        identity = Identity(pid, ticks, boot_id())
        fields = {"pid": pid, "start_ticks": ticks, "boot": identity.boot, "release": str(release.digest)}
        write_volatile(self._layout.slot_process(slot), dump(fields))
        return identity

    def _open_log(self, slot: str) -> Path:
        path = self._layout.slot_log(slot)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def alive(self, slot: str) -> Identity | None:
        path = self._layout.slot_process(slot)
        try:
            reader = Reader(parse(path.read_bytes(), path.name), path.name)
            identity = Identity(reader.integer("pid", 1), reader.integer("start_ticks"), reader.text("boot"))
        except (OSError, HomeportError):
            return None
        running = identity.boot == boot_id() and start_ticks(identity.pid) == identity.start_ticks
        return identity if running else None

    def stop(self, slot: str) -> None:
        """SIGTERM, then SIGKILL after 5 s. Raises HomeportError when even that does not end it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            identity = self.alive(slot)
            if identity is None or _signal_and_wait(identity.pid, number, _STOP_S):
                break
        if self.alive(slot) is not None:
            raise HomeportError(f"slot {slot}: its process does not end; look at the robot")
        self._layout.slot_process(slot).unlink(missing_ok=True)

    def log_tail(self, slot: str, count: int) -> list[str]:
        try:
            with self._layout.slot_log(slot).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 400 * count))
                return [line[:300] for line in file.read().decode("utf-8", "replace").splitlines()[-count:]]
        except OSError:
            return []


def _signal_and_wait(pid: int, number: signal.Signals, timeout_s: float) -> bool:
    """Whether the process ended in time. The descriptor keeps the pid from meaning another process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)
