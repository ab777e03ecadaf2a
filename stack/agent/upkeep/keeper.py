"""Keep `current` running.

At every start of the agent, before anything else and without a network, and once a second from then on.

What is on disk is verified before it is started, as often as that is. A `current` that does not verify gives way to
`previous`, that to `fallback`; the status says so until the next commit. Nothing is started twice at once, restarts
pause longer each time, and nothing here arms the robot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IncompatibleError, RefusedError
from model_registry.core.layout import linked_release
from stack.agent.change.recovery import close, close_open, sweep
from stack.agent.disk.journal import RECOVERY, STAGING
from stack.agent.disk.revocations import revoked_here
from stack.agent.disk.store import verify_staged
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.findings import Expected
from stack.agent.gate.judge import expect
from stack.agent.gate.samples import FRESH_S, SlotStatus, observe
from stack.agent.gate.watch import Patience, Watch
from stack.agent.host import Host
from stack.agent.reports import Failure

log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
SILENT_S = 30.0
"""A slot that reported once and not for so long hangs.

The supervisor has commanded zero since the first tenth of a second.
"""
ABSENT = "absent"
INTACT = "intact"
REVOKED = "revoked"
DAMAGED = "damaged"
DAMAGE = "damaged"
"""The metric of a failure that is about what is on disk."""


def choose(current: str, previous: str, fallback: str) -> str | None:
    """What to run: the first intact one of the three, else one that is only revoked.

    Each of the three is absent, intact, revoked or damaged.

    None when there is neither, then `current` is tried again and again.
    """
    states = {"current": current, "previous": previous, "fallback": fallback}
    return next((name for wanted in (INTACT, REVOKED) for name, state in states.items() if state == wanted), None)


def damage(host: Host, digest: Digest) -> str | None:
    """Why a release cannot be run from this disk; None when it can, or when the runtime is not there to tell."""
    try:
        release = verify_staged(host.layout, digest)
        missing = host.store.missing(digest)
    except HomeportError as error:
        return str(error)
    if missing == ["image"]:
        try:
            host.runtime.check(release)
        except HomeportError:
            return None
    return f"{', '.join(missing)} missing" if missing else None


class Keeper:
    """`keep` is called once a second. The first thing that an agent makes, and it makes one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pause_s = _FIRST_PAUSE_S
        self._next_start_s = 0.0
        self._expected: Expected | None = None
        self._watch: Watch | None = None
        self._verdict: str | None = None
        layout = host.layout
        self._links = {"current": layout.current, "previous": layout.previous, "fallback": layout.fallback}
        sweep(host.layout)

    def keep(self) -> None:
        """Slots are left alone while somebody changes them, the journal while anybody changes anything."""
        work = self._host.work
        if not work.busy.acquire(blocking=False):
            return
        try:
            unclosed = _tried(self._close) if work.claim.terms is None else None
            active = work.active
            if work.probation is None and (active is None or active.stage in STAGING):
                work.trouble = _tried(self._keep) or unclosed
        finally:
            work.busy.release()

    def _close(self) -> None:
        if (note := close_open(self._host)) is not None:
            log.warning("%s", note)
        with suppress(OSError):  # then it stays long, and is tried again when it is twice as long
            self._host.journal.rotate()

    def _keep(self) -> str | None:
        """What is wrong, or None."""
        host = self._host
        store = self._host.store
        slot = store.current_slot()
        current = store.current()
        if slot is not None and current is not None and self._runs(slot, current):
            self._let_drive(slot, current)
            host.runtime.stop(store.free_slot())
            return self._judge(slot, current)
        host.runtime.stop(store.free_slot())
        if not any(_there(path) for path in self._links.values()):
            return None
        wait_s = self._next_start_s - time.monotonic()
        if wait_s > 0:
            return f"slot {slot}: ended again; next start in {wait_s:.0f} s"
        self._next_start_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        if slot is not None:
            host.runtime.stop(slot)
        why = self._move_on(current)
        slot = store.current_slot()
        current = store.current()
        if why is None and slot is not None and current is not None:
            self._start(slot, current)
        return why

    def _runs(self, slot: str, current: Digest) -> bool:
        """Whether the slot is alive with the release that it should have.

        One that says that it is another, or says nothing any more, is ended.
        """
        identity = self._host.runtime.alive(slot)
        if identity is None:
            return False
        status = SlotStatus.load(self._host.layout.slot_status(slot))
        if status is None or not status.wrote(identity):
            return True
        if status.age_s > SILENT_S:
            log.warning("slot %s said nothing for %.0f s: started again", slot, SILENT_S)
        elif status.age_s < FRESH_S and status.release != str(current):
            log.warning("slot %s runs %s, and current is %s: started again", slot, status.release, current)
        else:
            return True
        self._host.runtime.stop(slot)
        return False

    def _let_drive(self, slot: str, current: Digest) -> None:
        view = self._host.supervisor.try_view()
        if view is not None and not view.drives(slot, current) and view.slots[slot].selectable:
            self._host.supervisor.select(slot, current, 0.0, None)

    def _judge(self, slot: str, current: Digest) -> str | None:
        """The gate of a rollback, for what was started here."""
        expected = self._expected
        if expected is None or (expected.slot, expected.release.digest) != (slot, current):
            self._expected = None
            self._watch = None
            self._verdict = None
            return None
        if self._watch is None:
            return self._verdict
        if (result := self._watch.feed(observe(self._host, slot))) is None:
            return self._verdict
        self._verdict = None
        self._watch = None
        self._pause_s = _FIRST_PAUSE_S
        if not result.passed:
            self._verdict = Failure.of_gate(current, "VERIFY_ROLLBACK", result).message
            self._watch = self._gate(expected)
        return self._verdict

    def _gate(self, expected: Expected) -> Watch:
        settings = self._host.config.gate
        patience = Patience(settings.restore_s, settings.ready_s)
        return Watch(expected, patience, Baseline(), observe(self._host, expected.slot))

    def _move_on(self, current: Digest | None) -> str | None:
        """Point `current` at the first of previous and fallback that verifies, when it does not itself.

        A container engine that is down moves no robot off its release: this raises what a start would. Nor does one
        that fails for a moment: it is asked twice.
        """
        host = self._host
        links = self._links
        on_disk = self._why(links["current"])
        why = on_disk or self._lost(links["current"])
        if why is None and _there(links["current"]):
            return None
        whys = {"current": why, **{name: self._why(links[name]) for name in ("previous", "fallback")}}
        revoked: Collection[str] = ()
        with suppress(HomeportError):  # the status tells it
            revoked = revoked_here(host.layout)
        good = {name: INTACT if _there(path) else ABSENT for name, path in links.items()}
        good.update(dict.fromkeys(revoked, REVOKED))
        while chosen := choose(*(DAMAGED if why else good[name] for name, why in whys.items())):
            if (lost := self._lost(links[chosen])) is None:
                break
            whys[chosen] = lost
        text = "; ".join(f"{name}: {why}" for name, why in whys.items() if why)
        if chosen is None or (target := linked_release(links[chosen])) is None:
            return f"nothing that was committed here can be run: {text}; stage a release"
        if why != on_disk and self._lost(links["current"]) is None:
            return None
        text = f"{text}; {chosen} {target.short} runs instead; stage and switch again"
        log.error("%s", text)
        failure = Failure(current or target, "ROLLBACK", text, DAMAGE).document()
        name = f"{RECOVERY}{host.journal.next_seq}"
        record = None
        with suppress(OSError):
            record = host.journal.append(name, "ROLLBACK", "intent", current, {"failure": failure, "quarantine": False})
        slot = host.store.free_slot()
        host.store.link_slot(slot, target)
        host.store.rename_current(slot)
        if record is not None:  # not what happens to be open: a release may be staged meanwhile
            close(host, record)
        return None

    def _why(self, path: Path) -> str | None:
        """What is wrong with the release that a link leads to."""
        digest = linked_release(path)
        if digest is None:
            return "leads to no release" if _there(path) else None
        return damage(self._host, digest)

    def _lost(self, path: Path) -> str | None:
        """Why the image of a link's release is not whole and does not come back from its copy."""
        digest = linked_release(path)
        try:
            if digest is not None:
                self._host.runtime.ensure(self._host.store.load(digest))
        except IncompatibleError:
            raise
        except RefusedError as error:
            return str(error)
        return None

    def _start(self, slot: str, current: Digest) -> None:
        release = self._host.store.load(current)
        self._host.runtime.start(slot, release)
        self._expected = expect(self._host, "restore", slot, release)
        self._watch = self._gate(self._expected)


def _tried(step: Callable[[], str | None]) -> str | None:
    """What a step says, or the error that it ended with."""
    try:
        return step()
    except (HomeportError, OSError) as error:
        return str(error)


def _there(path: Path) -> bool:
    return path.is_symlink() or path.exists()
