"""Build one image: bring everything it needs into the context, checked; then `docker build` without a network.

`prepare` does nothing that is done already: root filesystem and wheels come from caches by hash, and a file that is the
same stays as it is.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from urllib.request import urlopen

from images import resolve
from images.lock import Deb, LockEntry
from images.plan import Target
from images.platforms import Row
from images.rootfs import rootfs
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError

HERE = Path(__file__).parent
_ENVIRONMENT = ("install.py", "unused.txt")
_APPLICATION = ("install.py", "sbom.py", "entrypoint", "healthcheck", "dds.xml")
_DEBIAN_CLIENT = "/usr/bin/docker"
_TIMEOUT_S = 60


def prepare(target: Target, row: Row, entry: LockEntry) -> None:
    """Fill the context. Raises HomeportError for what cannot be had, or is not what the lock names."""
    context = resolve.ROOT / target.context
    context.parent.mkdir(parents=True, exist_ok=True)
    with context.with_name(f"{context.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one checkout at once
        _fill_whole(context, target, row, entry)


def _fill_whole(context: Path, target: Target, row: Row, entry: LockEntry) -> None:
    wheels = resolve.wheelhouse(row, target.arch, entry.wheels)
    fill(context / "environment", {file.name: file for file in [*wheels, *(HERE / name for name in _ENVIRONMENT)]})
    if row.debian:
        fill(context, {"rootfs.tar": rootfs(row, target.arch, entry.packages)})
    else:
        fill(context / "debs", {deb.file: _deb(deb) for deb in entry.debs})
    with tempfile.TemporaryDirectory() as folder:
        resolve.run(wheel_argv(folder))
        parts = [*Path(folder).iterdir(), *(HERE / name for name in _APPLICATION)]
        fill(context / "application", {file.name: file for file in parts})


def fill(folder: Path, files: Mapping[str, Path]) -> None:
    """Make a folder hold exactly these files, as links where that is possible.

    Leaves what is the same, and other folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in files and not path.is_dir():
            path.unlink()
    for name, source in files.items():
        path = folder / name
        if path.exists() and (path.samefile(source) or filecmp.cmp(path, source, shallow=False)):
            continue
        path.unlink(missing_ok=True)
        try:
            os.link(source, path)
        except OSError:  # another file system
            shutil.copy2(source, path)


def _deb(deb: Deb) -> Path:
    """One package file from the cache, downloaded where it is missing, its hash checked."""
    path = resolve.cache() / "debs" / deb.sha256 / deb.file
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        with urlopen(deb.url, timeout=_TIMEOUT_S) as response, temporary.open("wb") as file:
            shutil.copyfileobj(response, file)
        Digest(deb.sha256).check_file(temporary, deb.url)
        temporary.replace(path)
    Digest(deb.sha256).check_file(path, deb.file)
    return path


def wheel_argv(folder: str) -> list[str]:
    """Make the wheel of this checkout; hatchling gives the same bytes for the same sources."""
    return [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]


def build_argv(client: str, target: Target, identity: str, *, no_cache: bool = False) -> list[str]:
    """Without a network: what is missing from the context makes the build fail, not differ."""
    options = {"--build-arg": target.args, "--label": target.labels}
    return [
        client, "build", "--network=none", f"--platform={target.platform}", f"--file={target.dockerfile}",
        f"--iidfile={identity}", *(["--no-cache"] if no_cache else []),
        *(
            word
            for option, pairs in options.items()
            for key, value in pairs.items()
            for word in (option, f"{key}={value}")
        ),
        *(f"--tag={tag}" for tag in target.tags), target.context,
    ]  # fmt: skip


def build(target: Target, *, no_cache: bool = False) -> str:
    """The image's ID. Docker's progress goes to stderr. Raises HomeportError."""
    with tempfile.TemporaryDirectory() as folder:
        identity = Path(folder, "id")
        argv = build_argv(docker(), target, str(identity), no_cache=no_cache)
        environment = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        done = subprocess.run(argv, cwd=resolve.ROOT, env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            raise HomeportError(f"{target.name}: docker build ended with {done.returncode}; what failed is above")
        return identity.read_text().strip()


@lru_cache(1)
def docker() -> str:
    """A client that builds with BuildKit: with the buildx plugin, or old enough to need none. Raises HomeportError."""
    for client in filter(None, (shutil.which("docker"), shutil.which(_DEBIAN_CLIENT))):
        if can_build(lambda *words, of=client: _answer([of, *words])):
            return client
    raise HomeportError("no docker client here builds with BuildKit; install the buildx plugin (docker-buildx)")


def can_build(ask: Callable[..., str | None]) -> bool:
    """Whether a client, asked with these words, builds with BuildKit. Before version 23 it was part of the client."""
    if ask("buildx", "version") is not None:
        return True
    version = re.search(r"\d+", ask("--version") or "")  # of the client alone: no engine needs to run for it
    return version is not None and int(version[0]) < 23


def _answer(argv: list[str]) -> str | None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return None if done.returncode else done.stdout.strip()
