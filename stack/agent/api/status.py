"""What is true of this robot now: read from links, live processes and the supervisor, never remembered."""

from __future__ import annotations

from collections.abc import Iterator

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS
from model_registry.core.version import version
from stack.agent.api.condition import clock, disk, engine, motion, way_back
from stack.agent.disk.revocations import revoked_here
from stack.agent.gate.samples import SlotSample, observe, verified
from stack.agent.host import Host
from stack.agent.machine.processes import recall_host_pid
from stack.agent.machine.processor import processor
from stack.agent.settings.windows import window_document
from stack.agent.upkeep.keeper import DAMAGE


def status_document(host: Host) -> dict[str, object]:
    """The document of `homeport-agent status` (schema agent, status)."""
    robot, store = host.robot(), host.store
    samples = {slot: observe(host, slot) for slot in SLOTS}
    failure, restore_failure, log = last_failure(host)
    view = samples["a"].view
    trouble = host.runtime.trouble()
    problems = _problems(host, samples, trouble)
    return {
        "schema": 1,
        "agent": version(),
        "name": robot.name,
        "row": robot.row,
        "embodiment": robot.embodiment,
        "stage": _stage(host),
        **_change(host),
        "wait": _wait(host),
        "window": window_document(host.config.windows, host.layout),
        "running": _running(host, samples),
        "current": _release(host, store.current()),
        "previous": _release(host, store.previous()),
        "fallback": _release(host, store.fallback()),
        "staged": [str(digest) for digest in store.staged()],
        "slots": {slot: _slot(host, slot, samples[slot]) for slot in SLOTS},
        "healthy": not problems,
        "problems": problems,
        "supervisor": view.version if view else None,
        "motion": motion(view),
        "disk": disk(host),
        "engine": engine(host, trouble),
        "clock": clock(host),
        "way_back": way_back(host, trouble),
        "unheard": list(view.unheard) if view else [],
        "quarantined": _quarantined(host),
        "last": last_change(host),
        "failure": failure,
        "restore_failure": restore_failure,
        "log": log,
    }


def _stage(host: Host) -> str:
    """What goes on now: a stage of a deployment, or IDLE."""
    if host.work.probation is not None:
        return "PROBATION"
    active = host.work.active
    return "IDLE" if active is None else active.stage


def _change(host: Host) -> dict[str, object]:
    """Which deployment goes on now, and how far its fetch is."""
    active = host.work.active
    transfer = None if active is None or active.transfer is None else active.transfer.document()
    return {"deployment": None if active is None else active.identity, "transfer": transfer}


def _wait(host: Host) -> dict[str, object] | None:
    """What a change asks the robot for, while it waits for its permission."""
    active = host.work.active
    permission = host.work.permission
    waits = permission is not None and (active is None or active.stage == "WAIT")
    return permission.document() if permission is not None and waits else None


def last_failure(host: Host) -> tuple[object, object, object]:
    """The failure of the last deployment that ended; nothing when it ended well.

    Also what failed on the way back, and the last lines of its log from before that.
    """
    for record in reversed(host.journal.records):
        if record.decides:
            return record.detail.get("failure"), record.detail.get("restore_failure"), record.detail.get("log", [])
    return None, None, []


def last_change(host: Host) -> dict[str, object] | None:
    """Which deployment decided last what drives here, how it ended, and when.

    Where it failed, `failure` of the status says why.
    """
    for record in reversed(host.journal.records):
        if record.decides:
            release = None if record.release is None else str(record.release)
            return {"deployment": record.deployment, "release": release, "stage": record.stage, "wall": record.wall}
    return None


def _release(host: Host, digest: Digest | None) -> dict[str, object] | None:
    release = host.store.find(digest)
    if release is None:
        return None
    fields = {"name": release.name, "version": release.version, "counter": release.counter}
    return {"digest": str(release.digest), **fields}


def _slot(host: Host, slot: str, sample: SlotSample) -> dict[str, object] | None:
    digest = host.store.slot_release(slot)
    if digest is None:
        return None
    state = "starting" if sample.status is None else sample.status.state
    if sample.process is None:
        state = "stopped"
    return {
        "release": str(digest),
        "pid": sample.process.pid if sample.process else None,
        "state": state,
        "verified": verified(host, digest, sample),
        "void_reason": sample.status.void_reason if sample.status else None,
        "faults": sample.status.faults if sample.status else {},
        "processor": _processor(host, slot),
    }


def _processor(host: Host, slot: str) -> str | None:
    pid = recall_host_pid(host.layout.slot_process(slot))
    found = None if pid is None else processor(pid)
    return None if found is None else str(found)


def _running(host: Host, samples: dict[str, SlotSample]) -> dict[str, object] | None:
    """The verified release at the wheel; None when nothing drives or what drives is not what it should be."""
    view = samples["a"].view
    if view is None or view.selected_slot not in SLOTS:
        return None
    digest = host.store.slot_release(view.selected_slot)
    if digest is None or view.selected_release != str(digest):
        return None
    return _release(host, digest) if verified(host, digest, samples[view.selected_slot]) else None


def _damage(host: Host) -> Iterator[str]:
    """What is wrong on the disk, and what an earlier start did about it."""
    if host.journal.damaged:
        yield f"journal: damaged lines {host.journal.damaged[:10]}"
    if host.journal.unreadable is not None:
        yield f"journal: {host.journal.unreadable}"
    for document in (host.store.floor, host.store.quarantined):
        try:
            document()
        except HomeportError as error:
            yield str(error)
    for record in reversed(host.journal.records):
        failure = record.detail.get("failure")
        if record.closes and record.stage == "COMMIT":
            return
        if record.closes and isinstance(failure, dict) and failure.get("metric") == DAMAGE:
            yield str(failure.get("message"))
            return


def _quarantined(host: Host) -> list[str]:
    try:
        return [str(digest) for digest in host.store.quarantined()]
    except HomeportError:  # one of the problems
        return []


def _revoked(host: Host) -> Iterator[str]:
    """A robot that drives what is revoked goes on, until it gets something else."""
    try:
        if found := revoked_here(host.layout).get("current"):
            yield f"current {found[0].short} is revoked ({found[1]}); deploy another release"
    except HomeportError as error:
        yield str(error)


def _problems(host: Host, samples: dict[str, SlotSample], trouble: str | None) -> list[str]:
    """What is wrong with what runs. Whether an image is here is not known while the engine is in trouble."""
    store = host.store
    problems = [*_damage(host), *_revoked(host)]
    slot = store.current_slot()
    current = store.current()
    view = samples["a"].view
    if view is None:
        problems.append("the supervisor does not answer")
    if slot is None or current is None:
        problems += [host.work.trouble] if host.work.trouble is not None else []
        damaged = any(path.is_symlink() for path in (host.layout.current, host.layout.previous, host.layout.fallback))
        return problems if damaged and host.work.trouble else [*problems, "no release was committed yet"]
    if missing := [part for part in store.missing(current) if part != "image" or trouble is None]:
        problems.append(f"current release is not complete: {', '.join(missing)} missing")
    active = host.work.active
    if host.work.probation is not None or (active is not None and active.stage == "PROBATION"):
        slot = store.free_slot()
        current = store.slot_release(slot) or current
    if samples[slot].process is None:
        problems.append(f"slot {slot}: no process runs")
    elif not verified(host, current, samples[slot]):
        problems.append(f"slot {slot}: does not run {current.short} verified")
    if view is not None and not view.drives(slot, current):
        problems.append(f"slot {slot} is not selected by the supervisor")
    if host.work.trouble is not None:
        problems.append(host.work.trouble)
    return problems
