"""Whether two policies fit into this robot's memory.

Where they do not, one has to end before the other starts: `stop-first`, under hold.

A policy needs the peak that was measured when its engine was proved here. What runs already is not in what is
available, and gives back what its own status says. `memory_mib` in agent.toml is for what the kernel cannot know: what
other programs will need, or memory of its own that a GPU has.
"""

from __future__ import annotations

import re
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.gate import GateResult
from model_registry.core.layout import Layout
from model_registry.core.release import Release
from stack.agent.gate.samples import observe
from stack.agent.host import Host

TWO_SLOT = "two-slot"
STOP_FIRST = "stop-first"


def measured_peak(layout: Layout, release: Digest) -> int | None:
    """Bytes, from the proof of a release; None when it has no such figure.

    Raises HomeportError when it cannot be read.
    """
    try:
        gate = GateResult.load(layout.release(release).proof)
    except OSError as error:
        raise HomeportError(f"prove.json of release {release.short}: {error.strerror}; stage it again") from error
    peak = next((check.value for check in gate.checks if check.metric == "peak_memory_bytes"), None)
    return None if peak is None else int(peak)


def available(proc: Path = Path("/proc")) -> int | None:
    """Bytes that a new process could have without swapping; None where the kernel does not say."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) << 10


def room(free: int | None, memory_mib: int | None, taken: int) -> int | None:
    """Bytes for one more policy.

    By what is available, and by what policies may take together, of which `taken` is gone.
    """
    limits = (free, None if memory_mib is None else (memory_mib << 20) - taken)
    return min((each for each in limits if each is not None), default=None)


def cutover(host: Host, release: Release, permission: str) -> str | None:
    """How `release` can take over; None when nothing runs that it would take over from.

    Raises RefusedError when it cannot.
    """
    slot = host.store.current_slot()
    driver = None if slot is None else observe(host, slot)
    if driver is None or driver.process is None or host.store.current() == release.digest:
        return None
    taken = driver.status.memory_bytes if driver.status else 0
    needed = measured_peak(host.layout, release.digest)
    free = room(available(), host.config.memory_mib, taken)
    if needed is None or free is None or needed <= free:
        return TWO_SLOT
    text = f"release {release.version}: needs {needed >> 20} MiB beside what drives, and {free >> 20} are available"
    if needed > (freed := free + taken):
        ways = "end other programs" if host.config.memory_mib is None else "end other programs, raise memory_mib"
        raise RefusedError(f"{text}, {freed >> 20} without it; {ways}, or deploy a smaller model")
    if permission == "moving":
        raise RefusedError(f"{text}, so the robot has to stand while they change; leave out --gate moving")
    return STOP_FIRST
