"""Which keys this robot believes, and for what: new releases, channel records, and what it had committed before.

Who signs what is explained in model_registry/core/trust.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_registry.core.dsse import no_keys
from model_registry.core.files import remove, write_volatile
from model_registry.core.layout import Layout
from model_registry.core.trust import Trust


def trust_of(layout: Layout) -> Trust:
    """The keys of this robot as its files say now."""
    return Trust.load(layout.keys, layout.trust)


@contextmanager
def keys_for_tool(layout: Layout, committed: bool) -> Iterator[Path]:
    """A folder of the keys that the tool which fetches a release is to know; it goes when the tool has ended.

    `committed`: keys that are retired prove it as well. The tool has a version of its own and knows folders of keys
    only; how many keys have to sign is checked by the agent. Raises UntrustedError when there is no key.
    """
    trust = trust_of(layout)
    keys = (*trust.keys, *trust.retired) if committed else trust.keys
    if not keys:
        raise no_keys(layout.keys, trust.broken)
    folder = layout.ingest / "release-keys"
    remove(folder)
    folder.mkdir(parents=True)
    try:
        for key in keys:
            write_volatile(folder / f"{key.id.hex}.pub", key.pem)
        yield folder
    finally:
        remove(folder)
