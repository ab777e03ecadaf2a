"""The root filesystem of a Debian row: made by mmdebstrap, cached by what went in, the same bytes from the same
packages.

As a program (`python -m images.rootfs FOLDER`) it is mmdebstrap's last hook: all dates are cut to one afterwards, so
Python's compiled files must not compare them.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import shlex
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from images import resolve
from images.platforms import Row
from model_registry.core.errors import HomeportError

_LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zoneinfo/*",  # logs are in UTC
    "/usr/lib/*/gconv/*",  # iconv's tables; Python brings its own
)
_KEPT = ("/usr/share/doc/*/copyright",)
_HOOK = (sys.executable, "-m", "images.rootfs")


def argv(row: Row, arch: str, to: Path) -> list[str]:
    """Without perl, which only usrmerge would bring: the hook makes a merged /usr from the start."""
    return [
        *resolve.mmdebstrap_argv(row, arch),
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *(f"--dpkgopt=path-include={pattern}" for pattern in _KEPT),
        f'--customize-hook={shlex.join(["env", f"PYTHONPATH={resolve.ROOT}", *_HOOK])} "$1"',
        "bookworm",
        str(to),
    ]


def rootfs(row: Row, arch: str, locked: Mapping[str, str]) -> Path:
    """The archive for one row and arch.

    A mirror keeps no old versions: says on stderr where it differs from the lock.
    """
    inputs = json.dumps([argv(row, arch, Path("rootfs.tar")), sorted(locked.items()), inspect.getsource(finish)])
    inputs = inputs.replace(str(resolve.ROOT), "").replace(sys.executable, "")
    path = resolve.cache() / "rootfs" / f"{hashlib.sha256(inputs.encode()).hexdigest()}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one row at once
        if not path.is_file():
            sys.stderr.write(f"Making the root filesystem of {row.name}/{arch}, a minute or three…\n")
            temporary = path.with_suffix(".part.tar")
            resolve.run(argv(row, arch, temporary))
            temporary.replace(path)
    for line in drift(installed(path), locked):
        sys.stderr.write(f"warning: {row.name}/{arch}: {line}; run `make lock` before you push\n")
    return path


def installed(archive: Path) -> dict[str, str]:
    """Name → version of the packages in a root filesystem."""
    with tarfile.open(archive) as tar:
        if (file := tar.extractfile("./var/lib/dpkg/status")) is None:
            raise HomeportError(f"{archive} holds no package list; delete it and build again")
        return packages(file.read().decode())


def packages(status: str) -> dict[str, str]:
    """Name → version from the text of dpkg's status file."""
    found = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if line[:1].isalpha() and ": " in line)
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def drift(here: Mapping[str, str], locked: Mapping[str, str]) -> list[str]:
    """A line for each package whose version is not the locked one."""
    names = sorted(name for name in here.keys() | locked.keys() if here.get(name) != locked.get(name))
    return [f"{name} is {here.get(name, 'absent')}, the lock says {locked.get(name, 'absent')}" for name in names]


def finish(root: Path) -> None:
    """Make every compiled Python file valid whatever the date of its source (PEP 552: unchecked, hash unused).

    The network's files say nothing of this machine. They stay: BuildKit mounts over them, and would change /etc where
    they are missing.
    """
    for path in root.glob("usr/lib/python3*/**/*.pyc"):
        data = path.read_bytes()
        path.write_bytes(data[:4] + b"\1\0\0\0" + bytes(8) + data[16:])
    for name in ("hostname", "hosts", "resolv.conf"):
        (root / "etc" / name).write_text("")
        (root / "etc" / name).chmod(0o644)


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
