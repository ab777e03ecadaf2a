"""Images of containers that are whole Debian systems, made by mmdebstrap from Debian's own packages.

    recipe = Recipe("homeport-bench", "bookworm", packages=("python3", "systemd"), changes=('CMD ["/sbin/init"]',))
    name = recipe.ensure(client, say)

The root filesystem is kept, under the hash of everything that it is made from, so that it is downloaded once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

DROPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def cache_folder() -> Path:
    """Where downloaded parts of test systems are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport"


@contextmanager
def made_once(path: Path) -> Iterator[None]:
    """While the block looks for a file or folder of the cache and makes it, nobody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Recipe:
    """What an image is made from."""

    repository: str
    """The image's name before the colon."""
    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    """Commands that a shell runs inside of the new system; without double quotes."""
    changes: tuple[str, ...] = ()
    """Lines of a Dockerfile that say how containers of it start."""
    mirror: str | None = None
    """Where its packages come from, when not from mmdebstrap's default."""

    def argv(self, output: Path) -> list[str]:
        """How the root filesystem is made."""
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(self.packages)}"]
        command += [f"--dpkgopt=path-exclude={path}" for path in DROPPED]
        command += [f'--customize-hook=chroot "$1" sh -c "{hook}"' for hook in self.hooks]
        return [*command, self.suite, str(output), *([self.mirror] if self.mirror else [])]

    @property
    def tag(self) -> str:
        """The image's name, which changes with everything that it is made from."""
        recipe = json.dumps([self.argv(Path("root.tar")), list(self.changes)])
        return f"{self.repository}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    @property
    def kept(self) -> Path:
        """The file of the root filesystem, in a folder of its own kind."""
        repository, _, version = self.tag.partition(":")
        return cache_folder() / repository.removeprefix("homeport-") / f"{version}.tar"

    def ensure(self, client: docker.DockerClient, say: Callable[[str], None]) -> str:
        """Build the image unless it is there; its name. Raises AssertionError with mmdebstrap's words."""
        with made_once(self.kept.parent):
            self._ensure(client, say)
        return self.tag

    def _ensure(self, client: docker.DockerClient, say: Callable[[str], None]) -> None:
        try:
            client.images.get(self.tag)
        except ImageNotFound:
            if not self.kept.exists():
                say(
                    f"Making the root filesystem of {self.repository} from Debian's packages; that takes a minute, once"
                )
                self._bootstrap()
            repository, _, version = self.tag.partition(":")
            client.api.import_image(str(self.kept), repository=repository, tag=version, changes=list(self.changes))

    def _bootstrap(self) -> None:
        root = self.kept
        root.parent.mkdir(parents=True, exist_ok=True)
        part = root.with_suffix(".part.tar")
        done = subprocess.run(self.argv(part), capture_output=True, text=True, timeout=600)
        if done.returncode:
            part.unlink(missing_ok=True)
            last = done.stderr.strip()[-2000:]
            raise AssertionError(f"mmdebstrap could not make the root filesystem of {self.repository}: {last}")
        for old in root.parent.glob("*.tar"):
            if old != part:
                old.unlink()
        part.rename(root)
