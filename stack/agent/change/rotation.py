"""The next trust document: from it on others sign, and what was committed before stays what it was.

Nothing that drives is touched, so it is taken at any time. What it retires still proves the releases that this robot
has committed (trust.py), which is why a robot starts and rolls back after every rotation.
"""

from __future__ import annotations

from model_registry.core.trust import SUFFIX
from stack.agent.disk.trusting import trust_of
from stack.agent.host import Host
from stack.agent.reports import Result


def accept_trust(host: Host, envelope: bytes) -> Result:
    """Follow a signed trust document (a DSSE envelope); on disk when this returns. The same one again changes nothing.

    Raises UntrustedError, RefusedError or UsageError as `Trust.after` does; then nothing has changed.
    """
    layout, store = host.layout, host.store
    before = trust_of(layout)
    after = before.after(envelope)
    if after == before:
        return Result("trust", False)
    document = after.document()
    if document is not None and document.minimum_counter is not None:
        store.set_minimum_counter(document.minimum_counter)
    store.files.make_folder(layout.trust)
    store.files.write(layout.trust / f"{after.number}{SUFFIX}", envelope)
    return Result("trust", True, version=str(after.number))
