"""Slots as plain processes: detached from the agent, in sessions of their own, recognised by pid, start time and boot."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError
from model_registry.core.files import Files, sync_tree, write_volatile
from model_registry.core.layout import Layout
from model_registry.core.release import Image, Release
from model_registry.core.robot import Robot
from stack.agent.config import Config
from stack.agent.journal import boot_id
from stack.agent.reports import fill
from stack.agent.runtime import Command, Identity

_STOP_S = 5.0
_LOG_BYTES = 8 << 20
_MAX_UNPACKED_BYTES = 1 << 30
_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
# The shell leaves the program to init and says its pid, without a fork of this threaded process.
_DETACH = 'exec 3>&1 >&2; "$@" 3>&- </dev/null & echo $! >&3'


def check_member(info: zipfile.ZipInfo) -> None:
    """Raises IntegrityError for absolute names, `..`, backslashes, links and devices."""
    path = PurePosixPath(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    bad_name = path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts
    if bad_name or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise IntegrityError(f"image.whl: refuses to unpack {info.filename!r}; build the release again")


def unpack(wheel: Path, target: Path) -> None:
    """Write every file of a wheel below the new folder `target` and sync it; its digest was signed, and is checked anyway. Raises IntegrityError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            if sum(info.file_size for info in members) > _MAX_UNPACKED_BYTES:
                raise IntegrityError(f"image.whl: unpacks to more than {_MAX_UNPACKED_BYTES} bytes; build it again")
            for info in members:
                check_member(info)
            target.mkdir(exist_ok=True)
            for info in members:
                if not info.is_dir():
                    path = target / info.filename
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(info))
    except zipfile.BadZipFile as error:
        raise IntegrityError(f"image.whl: not a wheel ({error}); build the release again") from error
    sync_tree(target)


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


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
        """Its environment is the whole one of a release's processes (docs/interfaces.md)."""
        environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
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
        return Command((str(self._python(release)), "-m", module, *arguments), environment)

    def start(self, slot: str, release: Release) -> Identity:
        command = self.tool(release, "stack.policy", "--slot", slot, "--root", str(self._layout.root))
        status = self._layout.slot_status(slot)
        self._files.make_folder(status.parent)
        status.unlink(missing_ok=True)
        self._files.make_folder(self._layout.logs / "ros")
        with self._open_log(slot).open("ab") as log:
            done = subprocess.run(
                ["/bin/sh", "-c", _DETACH, "sh", *command.argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**command.environment, "HOMEPORT_SLOT": slot},
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
        write_volatile(self._layout.slot_process(slot), dump({**asdict(identity), "release": str(release.digest)}))
        return identity

    def _open_log(self, slot: str) -> Path:
        path = self._layout.slot_log(slot)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def alive(self, slot: str) -> Identity | None:
        path = self._layout.slot_process(slot)
        try:
            identity = fill(Identity, Reader(parse(path.read_bytes(), path.name), path.name))
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
