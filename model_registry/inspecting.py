"""What a container image is made of and where it may run: bytes per instruction, every item of 10 MB, labels, and
whether a row fits.

The engine is docker-py's client; it is imported late, because only a publisher's machine has it.
"""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from model_registry.core.errors import HomeportError, NotFoundError
from model_registry.sources import Progress, no_progress

if TYPE_CHECKING:
    from docker import DockerClient

SOCKET = "unix:///var/run/docker.sock"
LEAST_BYTES = 10_000_000
_PACKAGES = ("site-packages", "dist-packages")
_NOISE = ("/bin/sh -c #(nop) ", "/bin/sh -c ", "# buildkit")


@dataclass(frozen=True)
class ImagePart:
    """So many bytes, and what they are: an instruction or a path."""

    bytes: int
    name: str


@dataclass(frozen=True)
class Inspected:
    """One local image. `layers` and `items` have the largest first."""

    id: str
    architecture: str
    bytes: int
    labels: dict[str, str]
    layers: tuple[ImagePart, ...]
    items: tuple[ImagePart, ...]


def listens(host: str) -> bool:
    """Whether an engine may be at `unix://PATH`; docker-py leaves an open socket behind when none is."""
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(host.removeprefix("unix://")) == 0


@contextmanager
def engine() -> Iterator[DockerClient]:
    """The container engine of this machine. Raises HomeportError when there is none, and for whatever it refuses."""
    try:
        import docker
    except ImportError as error:
        raise HomeportError("docker-py is not installed; run pip install 'homeport[controller]'") from error
    no_engine = HomeportError("no container engine answers; start Docker, or set DOCKER_HOST to the one you mean")
    if not listens(os.environ.get("DOCKER_HOST", SOCKET)):
        raise no_engine
    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise no_engine from error
    try:
        yield client
    except docker.errors.DockerException as error:
        raise HomeportError(f"the container engine failed: {error}; see its log") from error
    finally:
        client.close()


def inspect(client: DockerClient, reference: str, progress: Progress = no_progress) -> Inspected:
    """Look into an image that the engine has; it is never started. Raises NotFoundError."""
    found = [each for each in client.images.list() if reference in (each.id, *each.tags)]
    if not found:
        known = ", ".join(sorted(tag for each in client.images.list() for tag in each.tags)) or "no image"
        raise NotFoundError(f"image {reference}: not in this engine, which has {known}; `make image`, or pull it first")
    image = found[0]
    container = client.containers.create(image, command=["never-started"])
    try:
        pieces: Iterable[bytes] = container.export()  # type: ignore[assignment]  # the stubs say str
        items = largest(_files(pieces, progress))
    finally:
        container.remove(v=True)
    layers = layer_table(image.history())
    return Inspected(str(image.id), image.attrs["Architecture"], image.attrs["Size"], dict(image.labels), layers, items)


def layer_table(history: Iterable[Mapping[str, object]]) -> tuple[ImagePart, ...]:
    """What each instruction added, from the engine's history; those that added nothing are left out."""
    parts = []
    for entry in history:
        text = str(entry["CreatedBy"])
        for noise in _NOISE:
            text = text.replace(noise, " ")
        parts.append(ImagePart(int(str(entry["Size"])), " ".join(text.split())))
    return tuple(sorted((part for part in parts if part.bytes), key=lambda part: -part.bytes))


def largest(files: Iterable[tuple[str, int]], least: int = LEAST_BYTES) -> tuple[ImagePart, ...]:
    """Every file, folder or Python package of at least `least` bytes.

    A folder is told by what is large in it, and by its rest.
    """
    sizes: Counter[PurePosixPath] = Counter()
    for name, size in files:
        path = PurePosixPath("/", name)
        sizes.update({each: size for each in (path, *path.parents) if not _in_package(each)})
    large = {path: size for path, size in sizes.items() if size >= least}
    told: Counter[PurePosixPath] = Counter()
    for path, size in large.items():
        if path != path.parent:
            told[path.parent] += size
    parts = [
        ImagePart(size - told[path], f"{path} (the rest)" if told[path] else str(path)) for path, size in large.items()
    ]
    return tuple(sorted((part for part in parts if part.bytes >= least), key=lambda part: (-part.bytes, part.name)))


def _in_package(path: PurePosixPath) -> bool:
    return any(parent.name in _PACKAGES for parent in path.parent.parents)


class _Stream(io.RawIOBase):
    """Pieces of a body as a file that tarfile can read."""

    def __init__(self, pieces: Iterable[bytes], progress: Progress) -> None:
        self._pieces = iter(pieces)
        self._progress = progress
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._left and (piece := next(self._pieces, b"")):
            self._progress(len(piece))
            self._left = piece
        data = self._left[:size]
        self._left = self._left[size:]
        return data


def _files(pieces: Iterable[bytes], progress: Progress) -> Iterator[tuple[str, int]]:
    with tarfile.open(fileobj=_Stream(pieces, progress), mode="r|") as archive:
        for member in archive:
            yield member.name, member.size
