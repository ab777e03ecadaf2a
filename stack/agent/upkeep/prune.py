"""Make room: take off the disk what no release that this robot may need names any more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError
from model_registry.core.files import held, remove
from model_registry.core.layout import SLOTS
from stack.agent.host import Host
from stack.agent.machine.room import size_of
from stack.agent.reports import Removed, Result
from stack.agent.runtime import image_of

_LOCK_S = 5.0


def needed(host: Host) -> set[Digest]:
    """The releases that stay: current, previous, fallback, and what a slot or a change that is under way names."""
    store = host.store
    links = (store.current(), store.previous(), store.fallback(), *(store.slot_release(slot) for slot in SLOTS))
    active = host.work.active
    under_way = None if active is None else active.release
    return {digest for digest in (*links, under_way) if digest is not None}


def prune(host: Host, dry_run: bool) -> Result:
    """Remove all other releases, what only they named, and what interrupted work has left.

    That is models, engines, images and copies.
    """
    kept = needed(host)
    layout = host.layout
    removed = []
    host.store.files.make_folder(layout.engines)
    with held(layout.engines / ".lock", _LOCK_S, f"{layout.engines}: an engine is being built"):
        for kind, path in _unneeded(host, kept):
            removed.append(Removed(kind, path.name, size_of(path)))
            if not dry_run:
                _remove(host, path)
    removed += host.runtime.prune(_images(host, kept), dry_run)
    return Result("prune", bool(removed) and not dry_run, removed=tuple(removed))


def _unneeded(host: Host, kept: set[Digest]) -> Iterator[tuple[str, Path]]:
    """Every folder that can go. Releases come first, so that none is left that names what is gone."""
    layout = host.layout
    names = {digest.hex for digest in kept}
    folders = [layout.release(digest) for digest in kept]
    models = {release.model.hex for digest in kept if (release := host.store.find(digest)) is not None}
    for kind, folder, stay in (
        ("release", layout.releases, names),
        ("model", layout.models, models | _linked(folder.model for folder in folders)),
        ("engine", layout.engines, _linked(folder.engine for folder in folders)),
        ("partial", layout.ingest, set()),
    ):
        for path in sorted(folder.glob("*")):
            if path.name not in stay | {".timing"} and path.suffix != ".lock" and path.name != ".lock":
                yield ("partial" if path.name.startswith(".") else kind), path


def _linked(links: Iterable[Path]) -> set[str]:
    return {link.readlink().name for link in links if link.is_symlink()}


def _images(host: Host, kept: set[Digest]) -> set[Digest]:
    """What the releases that stay run here."""
    images = set()
    for release in (host.store.find(digest) for digest in kept):
        try:
            if release is not None:
                images.add(image_of(host.layout, release).digest)
        except IncompatibleError:  # made for another row: it never ran here
            continue
    return images


def _remove(host: Host, path: Path) -> None:
    """In one step out of sight, then piece by piece: a power cut leaves nothing half that looks whole."""
    doomed = path.with_name(f".pruned-{os.getpid()}-{path.name}")
    host.store.files.rename(path, doomed)
    remove(doomed)
