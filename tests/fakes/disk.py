"""The agent's file port on a disk that forgets: it records writes, renames and syncs, and knows every state that a
power cut could leave.

Allowed losses: of each folder, the changes of its names from some point on that were not synced (file systems journal
names in order); of each file, its unsynced bytes, all or the second half. What the device's own tools wrote into
`models` and `engines` is theirs to sync; what lies in `ingest` is ours.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from model_registry.core.files import Files

Node = tuple[str, bytes | str]
Image = dict[str, Node]
"""Path below the root → ("file", bytes), ("link", target) or ("folder", "")."""
_ALL_STATES = 12
_SKIPPED = ("etc", "envs", "logs", "agent.log")


class Killed(BaseException):
    """SIGKILL, seen from inside: no handler of the program runs on, because every port refuses from now on."""


def read_image(root: Path) -> Image:
    """Everything below `root` but settings and logs."""
    image: Image = {}
    stack = [path for path in root.iterdir() if path.name not in _SKIPPED]
    while stack:
        path = stack.pop()
        name = str(path.relative_to(root))
        if path.is_symlink():
            image[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            image[name] = ("folder", "")
            stack.extend(path.iterdir())
        else:
            image[name] = ("file", path.read_bytes())
    return image


def write_image(root: Path, image: Image) -> None:
    """Make `root` what the image says, touching what differs only."""
    now = read_image(root)
    for name in sorted(now, reverse=True):
        if image.get(name) != now[name]:
            path = root / name
            path.rmdir() if now[name][0] == "folder" else path.unlink()
    for name in sorted(image):
        if now.get(name) == image[name]:
            continue
        kind, content = image[name]
        path = root / name
        if kind == "folder":
            path.mkdir(parents=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content)


def below(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


class Disk(Files):
    """`before` and `after` hear of every journal record; `step` of every primitive; `states` collects what a cut could
    leave since `record` was set.
    """

    def __init__(self, root: Path, check: Callable[[], None], touch: Callable[[], None]) -> None:
        super().__init__(check)
        self.root, self._touch = root, touch
        self.before: Callable[[str], None] = lambda edge: None
        self.after: Callable[[str], None] = lambda edge: None
        self.full, self.broken_sync, self.forgetful = False, False, False
        self.recording = False
        self.edge = "start"
        self.states: dict[str, dict[frozenset[tuple[str, Node]], Image]] = {}
        self._names: dict[str, list[Callable[[Image], None]]] = {}
        self._data: dict[str, bytes] = {}
        self._synced: set[str] = set()

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    # the port
    # -----------------------------------------------------------------------------------------------------------
    def append(self, path: Path, data: bytes) -> None:
        record = json.loads(data)
        edge = f"{record['stage']}:{record['phase']}"
        self._touch()
        self.before(edge)
        self.edge = edge
        super().append(path, data)
        self.after(edge)

    def sync(self, path: Path) -> None:
        self._touch()
        if self.broken_sync:
            self.broken_sync = False
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        if self.forgetful:
            return
        name = self._name(path) if path != self.root else "."
        self._names.pop(name, None)
        self._data.pop(name, None)
        self._synced.add(name)
        self._seen()

    def _room(self, path: Path) -> None:
        self._touch()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _mkdir(self, path: Path, mode: int) -> None:
        self._room(path)
        super()._mkdir(path, mode)
        self._changed(path, lambda image: _drop(image, self._name(path)))

    def _create(self, path: Path, pieces: Iterable[bytes], mode: int) -> None:
        self._touch()
        pieces = list(pieces)
        super()._create(path, [piece[: len(piece) // 2] for piece in pieces] if self.full else pieces, mode)
        name = self._name(path)
        self._data[name] = b""
        self._changed(path, lambda image: _drop(image, name))
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _extend(self, path: Path, data: bytes) -> None:
        self._touch()
        name, new = self._name(path), not path.exists()
        self._data.setdefault(name, b"" if new else path.read_bytes())
        super()._extend(path, data[: len(data) // 2] if self.full else data)
        if new:
            self._changed(path, lambda image: _drop(image, name))
        self._seen()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _truncate(self, path: Path, size: int) -> None:
        self._touch()
        self._data.setdefault(self._name(path), path.read_bytes())
        super()._truncate(path, size)
        self._seen()

    def _rename(self, source: Path, target: Path) -> None:
        self._touch()
        old, new = self._name(source), self._name(target)
        gone = {name: node for name, node in read_image(self.root).items() if below(name, new)}
        if old.startswith("ingest/"):
            self._risk(source)
        super()._rename(source, target)
        self._move(old, new)

        def undo(image: Image) -> None:
            moved = {name: image.pop(name) for name in [each for each in image if below(each, new)]}
            image.update({old + name[len(new) :]: node for name, node in moved.items()})
            image.update(gone)

        self._changed(target, undo)

    def _risk(self, folder: Path) -> None:
        """What a program of the release unpacked was written by nobody who syncs."""
        for root, _, names in os.walk(folder):
            for path in (Path(root) / name for name in names):
                if not path.is_symlink() and self._name(path) not in self._synced:
                    self._data[self._name(path)] = b""

    def _move(self, old: str, new: str) -> None:
        for name in [each for each in self._data if below(each, new)]:
            del self._data[name]
        for name in [each for each in self._data if below(each, old)]:
            self._data[new + name[len(old) :]] = self._data.pop(name)
        for name in [each for each in self._names if below(each, old)]:
            self._names[new + name[len(old) :]] = self._names.pop(name)

    def _symlink(self, path: Path, target: str) -> None:
        self._room(path)
        super()._symlink(path, target)
        self._changed(path, lambda image: _drop(image, self._name(path)))

    def _unlink(self, path: Path) -> None:
        self._touch()
        if path.is_symlink() or path.exists():
            name = self._name(path)
            node = read_image(self.root)[name]
            super()._unlink(path)
            self._data.pop(name, None)
            self._changed(path, lambda image: image.update({name: node}))

    # the power cut
    # ------------------------------------------------------------------------------------------------------
    def _changed(self, path: Path, undo: Callable[[Image], None]) -> None:
        folder = "." if path.parent == self.root else self._name(path.parent)
        self._names.setdefault(folder, []).append(undo)
        self._seen()

    def _seen(self) -> None:
        if self.recording:
            found = self.states.setdefault(self.edge, {})
            for image in self.cut():
                found.setdefault(frozenset(image.items()), image)

    def cut(self) -> Iterator[Image]:
        """What could be on the disk if the power went now.

        Beyond a dozen combinations: all lost, all kept, each single loss, and a sample.
        """
        image = read_image(self.root)
        folders, files = sorted(self._names), [name for name in sorted(self._data) if name in image]
        choices = [range(len(self._names[folder]) + 1) for folder in folders] + [range(3)] * len(files)
        picked: Iterable[tuple[int, ...]] = itertools.product(*choices)
        most = tuple(len(choice) - 1 for choice in choices)
        if sum(most) > 4:
            single = [tuple(value if at == place else 0 for at, value in enumerate(most)) for place in range(len(most))]
            chance = random.Random(len(choices))
            sample = [tuple(chance.choice(choice) for choice in choices) for _ in range(_ALL_STATES)]
            picked = [most, tuple(0 for _ in most), *single, *sample]
        for losses in picked:
            yield self._lose(
                dict(image),
                list(zip(folders, losses, strict=False)),
                list(zip(files, losses[len(folders) :], strict=True)),
            )

    def _lose(self, image: Image, names: list[tuple[str, int]], files: list[tuple[str, int]]) -> Image:
        for name, loss in files:
            content, kept = image[name][1], self._data[name]
            if loss and isinstance(content, bytes):
                image[name] = ("file", kept if loss == 2 else content[: (len(kept) + len(content)) // 2])
        for folder, loss in names:
            for undo in reversed(self._names[folder][len(self._names[folder]) - loss :]):
                undo(image)
        return image


def _drop(image: Image, name: str) -> None:
    for each in [other for other in image if below(other, name)]:
        del image[each]
