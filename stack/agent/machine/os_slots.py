"""Which of its two systems a Jetson runs, and whether that is settled.

Only read: the operating system belongs to who updates it.

A robot whose system is on trial, or about to change, takes no new release: the next boot may be another L4T, for which
nothing was built. What this knows of the tool's output and of the firmware's variables is NVIDIA's documentation of L4T
35 to 39 and reports of users; it was not run on a Jetson.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.layout import Layout
from stack.agent.machine.child import ask

_NVIDIA = "781e084c-a330-417c-b678-38e696380cb9"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_UNBOOTABLE = 0xFF
_CAPSULE = 0x04
_TRIES = 3
_NAMES = {"0": "A", "1": "B"}
_LEADS = re.compile(r"^(Current|Active) (?:rootfs|bootloader) slot:\s*([AB])\s*$", re.MULTILINE)
_SLOT = re.compile(r"^slot:\s*([01]),(?:\s*retry_count:\s*(\d+),)?\s*status:\s*(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dump:
    """One `dump-slots-info`: the slot that runs, the one that boots next, and of each its status and the tries that it
    has left.
    """

    current: str
    active: str
    status: dict[str, str]
    tries: dict[str, int]

    @classmethod
    def parse(cls, text: str) -> Dump | None:
        """None for a text that does not say which slot runs and which is next."""
        leads = dict(_LEADS.findall(text))
        if leads.keys() != {"Current", "Active"}:
            return None
        slots = [(_NAMES[number], tries, status) for number, tries, status in _SLOT.findall(text)]
        tries = {name: int(count) for name, count, _ in slots if count}
        return cls(leads["Current"], leads["Active"], {name: status for name, _, status in slots}, tries)


@dataclass(frozen=True, slots=True)
class OsSlots:
    """`unsettled` says why no release may be deployed now, `warnings` what an operator should fix; in sentences."""

    current: str | None
    unsettled: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_os_slots(layout: Layout) -> OsSlots | None:
    """None where there is no L4T.

    What cannot be read is a warning, not a reason: firmware without two systems is lawful.
    """
    if not layout.tegra_release.is_file():
        return None
    if shutil.which("nvbootctrl") is None:
        return OsSlots(None, (), ("its slots are not known, nvbootctrl is not installed",))
    rootfs = Dump.parse(_say("-t", "rootfs", "dump-slots-info"))
    known = [dump for dump in (rootfs, Dump.parse(_say("dump-slots-info"))) if dump is not None]
    runs = _NAMES.get(_say("get-current-slot").strip())
    if not known:
        return OsSlots(runs, (), ("its slots are not known, nvbootctrl prints none that this agent can read",))
    unsettled = [
        f"system {dump.active} boots next, and {dump.current} runs" for dump in known if dump.active != dump.current
    ]
    most = _byte(layout, f"RootfsRetryCountMax-{_NVIDIA}", _TRIES)
    if rootfs is not None and (left := rootfs.tries.get(rootfs.current, most)) < most:
        unsettled.append(
            f"system {rootfs.current} is on a trial boot ({left} of {most} tries left, `nvbootctrl verify` has not run)"
        )
    if _byte(layout, f"OsIndications-{_GLOBAL}", 0) & _CAPSULE:
        unsettled.append("a firmware capsule waits for the next boot")
    return OsSlots(known[0].current, tuple(dict.fromkeys(unsettled)), tuple(_warnings(layout, known, runs)))


def _say(*words: str) -> str:
    """What nvbootctrl prints, nothing where it fails: without a second system some of its verbs do."""
    try:
        return ask("nvbootctrl", *words)
    except HomeportError:
        return ""


def _warnings(layout: Layout, known: list[Dump], runs: str | None) -> list[str]:
    marked = {name for name in "AB" if _byte(layout, f"RootfsStatusSlot{name}-{_NVIDIA}", 0) == _UNBOOTABLE}
    marked |= {name for dump in known for name, status in dump.status.items() if status == "unbootable"}
    found = [
        f"system {name} is marked unbootable for good (0xFF): every update to it fails silently"
        for name in sorted(marked)
    ]
    if runs is not None and any(dump.current != runs for dump in known):
        found.append(f"nvbootctrl contradicts itself about which system runs, {known[0].current} or {runs}")
    return found


def _byte(layout: Layout, name: str, default: int) -> int:
    """The first byte of a variable's value, which stands behind four bytes of attributes."""
    try:
        data = (layout.efivars / name).read_bytes()
    except OSError:
        return default
    return data[4] if len(data) > 4 else default


def check_settled(layout: Layout) -> None:
    """Raises RefusedError while the system is on a trial boot, or another one is about to boot."""
    slots = read_os_slots(layout)
    if slots is not None and slots.unsettled:
        raise RefusedError(
            f"the operating system is not settled: {'; '.join(slots.unsettled)}; finish or undo its update "
            "(docs/rollback.md), then deploy"
        )
