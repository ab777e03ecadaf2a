"""Slots as plain processes, detached from the agent and in sessions of their own.

They are recognised by pid, start time and boot.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import zipfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError, RefusedError
from model_registry.core.files import Files
from model_registry.core.layout import Layout, ReleaseFolder
from model_registry.core.release import Release
from stack.agent.machine.child import Program
from stack.agent.machine.processes import Notes, ProcessId, boot_id, start_ticks
from stack.agent.machine.room import Need
from stack.agent.reports import Removed
from stack.agent.runtime import Fetched, check_mounted, image_of
from stack.agent.runtime.containers import access
from stack.agent.settings.config import Config

_STOP_S = 5.0
_LOG_BYTES = 8 << 20
_MAX_UNPACKED_BYTES = 1 << 30
# What a release builds must not take time from the control loop.
_NICE = ("/usr/bin/nice", "-n")
_LOW_PRIORITY = (*_NICE, "10")
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
    """Write every file of a wheel below the new folder `target` and sync it.

    Its digest was signed, and is checked anyway. Raises IntegrityError.
    """
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
    Files().sync_tree(target)


def same(wheel: Path, site: Path) -> bool:
    """Whether every file of a wheel is below `site` as it was unpacked; a wheel that cannot be read is another one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = (info for info in archive.infolist() if not info.is_dir())
            return all((site / info.filename).read_bytes() == archive.read(info) for info in files)
    except (OSError, zipfile.BadZipFile):
        return False


class ProcessRuntime:
    """Row `process`: the wheel unpacked in `site/`, over the dependency environment of its lock file."""

    def __init__(self, layout: Layout, config: Config, files: Files) -> None:
        self._layout = layout
        self._config = config
        self._files = files
        self._notes = Notes(layout)

    def _python(self, release: Release) -> Path:
        lock = image_of(self._layout, release).lock
        if lock is None:
            raise IncompatibleError(
                f"release {release.version}: its image names no lock file; create the release again"
            )
        return self._layout.environment(lock) / "bin" / "python"

    def preflight(self) -> None:
        python = self._config.device_python
        if python is None or not python.exists():
            raise IncompatibleError(f"{python}: not there; apply the role `device`")
        check_mounted(self._layout, ("releases", "slots"))

    def trouble(self) -> str | None:
        return None

    def check(self, release: Release) -> None:
        python = self._python(release)
        if not python.exists():
            raise IncompatibleError(
                f"release {release.version}: {python.parent.parent} is not installed; apply the role `device` with "
                "this release's lock file"
            )

    def installed(self, release: Release, folder: ReleaseFolder) -> bool:
        try:
            return folder.site.exists() or self._copy_of(release).exists()
        except HomeportError:  # made for another row
            return False

    def install(self, release: Release, fetched: Fetched) -> None:
        """Unpack `image.whl` of the folder into `site/` beside it; the wheel becomes the copy.

        Raises IntegrityError.
        """
        wheel = fetched.folder.wheel
        image_of(self._layout, release).digest.check_file(wheel, f"release {release.version}: image.whl")
        unpack(wheel, fetched.folder.site)
        self._files.make_folder(self._layout.images)
        self._files.move(wheel, self._copy_of(release))

    def ensure(self, release: Release) -> None:
        """Compare `site/` with the wheel, and unpack that again where they differ.

        Raises RefusedError or IntegrityError.
        """
        site = self._layout.release(release.digest).site
        wheel = self._copy_of(release)
        if wheel.exists() and same(wheel, site):
            return
        if wheel.exists() and Digest.of_file(wheel).hex != wheel.stem:  # a damaged copy speaks against nothing
            wheel.unlink()
        if wheel.exists():
            self._unpack_again(wheel, site)
        elif not site.exists():
            raise RefusedError(f"release {release.version}: its code is not on this robot any more; stage it again")

    def _unpack_again(self, wheel: Path, site: Path) -> None:
        fresh = site.with_name(".site.new")
        damaged = site.with_name(".site.bad")
        for leftover in (fresh, damaged):
            shutil.rmtree(leftover, ignore_errors=True)
        unpack(wheel, fresh)
        if site.exists():
            self._files.rename(site, damaged)
        self._files.rename(fresh, site)
        shutil.rmtree(damaged, ignore_errors=True)

    def room(self, compressed_bytes: int) -> tuple[Need, ...]:
        return ()

    def copy(self, release: Release, rest: Callable[[], None]) -> None:
        """`install` has done it."""

    def prune(self, kept: Collection[Digest], dry_run: bool) -> list[Removed]:
        gone = [path for path in self._layout.images.glob(f"{'?' * 64}.whl") if Digest(path.stem) not in kept]
        removed = [Removed("copy", path.name, path.stat().st_size) for path in gone]
        for path in () if dry_run else gone:
            path.unlink()
        return removed

    def _copy_of(self, release: Release) -> Path:
        return self._layout.images / f"{image_of(self._layout, release).digest.hex}.whl"

    def device_tool(self, module: str, *arguments: str) -> Program:
        environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
        path = os.pathsep.join(self._config.device_path)
        argv = (str(self._config.device_python), "-m", module, *arguments)
        environment |= {**access(self._layout), **self._config.fetch.environment}
        return Program(argv, {**environment, **({"PYTHONPATH": path} if path else {})})

    def tool(self, release: Release, module: str, *arguments: str) -> Program:
        command = self._command(release, module, *arguments)
        environment = {**command.environment, **access(self._layout), **self._config.fetch.environment}
        return Program((*_LOW_PRIORITY, *command.argv), environment)

    def _command(self, release: Release, module: str, *arguments: str) -> Program:
        """Its environment is the whole one of a release's processes (docs/interfaces.md)."""
        environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "ROS_DOMAIN_ID": str(self._config.domain_id),
            "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(self._layout.dds_profile),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "ROS_LOG_DIR": str(self._layout.logs / "ros"),
            "PYTHONPATH": str(self._layout.release(release.digest).site),
            "PYTHONUNBUFFERED": "1",
            "HOMEPORT_RELEASE": str(release.digest),
            **self._config.environment,
        }
        return Program((str(self._python(release)), "-m", module, *arguments), environment)

    def start(self, slot: str, release: Release) -> ProcessId:
        self.ensure(release)
        command = self._command(release, "stack.policy", "--slot", slot, *self._layout.options)
        # Where a lower value is not permitted, nice says so in the slot's log and goes on with the usual one.
        first = (*_NICE, str(self._config.slot_nice)) if self._config.slot_nice else ()
        status = self._layout.slot_status(slot)
        self._files.make_folder(status.parent)
        status.unlink(missing_ok=True)
        self._files.make_folder(self._layout.logs / "ros")
        try:
            with self._open_log(slot).open("ab") as log:
                done = subprocess.run(
                    ["/bin/sh", "-c", _DETACH, "sh", *first, *command.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**command.environment, "HOMEPORT_SLOT": slot},
                    cwd="/",
                    start_new_session=True,
                    timeout=10,
                    check=True,
                )
        except subprocess.SubprocessError as error:
            raise HomeportError(
                f"slot {slot}: cannot be started ({error}); look at the robot's load and disk"
            ) from error
        pid = int(done.stdout)
        ticks = start_ticks(pid)
        if ticks is None:
            raise HomeportError(f"slot {slot}: the policy ended at once; read {self._layout.slot_log(slot)}")
        identity = ProcessId(pid, ticks, boot_id())
        self._notes.note(slot, identity, pid)
        return identity

    def _open_log(self, slot: str) -> Path:
        path = self._layout.slot_log(slot)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def alive(self, slot: str) -> ProcessId | None:
        return self._notes.find(slot)

    def stop(self, slot: str) -> None:
        """SIGTERM, then SIGKILL after 5 s. Raises HomeportError when even that does not end it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            identity = self.alive(slot)
            if identity is None or _signal_and_wait(identity.pid, number, _STOP_S):
                break
        if self.alive(slot) is not None:
            raise HomeportError(f"slot {slot}: its process does not end; look at the robot")
        self._notes.forget(slot)

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
