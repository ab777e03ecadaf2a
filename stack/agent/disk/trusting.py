"""Which keys this robot believes, and for what: new releases, channel records, and what it had committed before.

Who signs what is explained in model_registry/core/trust.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_registry.core.dsse import Key, no_keys
from model_registry.core.files import remove, write_volatile
from model_registry.core.layout import Layout
from model_registry.core.trust import Trust


def trust_of(layout: Layout) -> Trust:
    """The keys of this robot as its files say now."""
    return Trust.load(layout.keys, layout.trust)


def keys_of(layout: Layout, committed: bool) -> tuple[Key, ...]:
    """The keys that prove a release here; `committed`: those that are retired do it as well.

    Raises UntrustedError when there is no key.
    """
    trust = trust_of(layout)
    keys = (*trust.keys, *trust.retired) if committed else trust.keys
    if not keys:
        raise no_keys(layout.keys, trust.broken)
    return keys


@contextmanager
def keys_for_tool(layout: Layout, committed: bool) -> Iterator[Path]:
    """A folder of these keys for the tool which fetches a release; it goes when the tool has ended.

    The tool has a version of its own and knows folders of keys only; how many keys have to sign is checked by the
    agent. Raises UntrustedError when there is no key.
    """
    keys = keys_of(layout, committed)
    folder = layout.ingest / "release-keys"
    remove(folder)
    folder.mkdir(parents=True)
    try:
        for key in keys:
            write_volatile(folder / f"{key.id.hex}.pub", key.pem)
        yield folder
    finally:
        remove(folder)
