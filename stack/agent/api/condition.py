"""What an operator has to know of a robot beside what runs.

That is whether it may move, its disk, its engine, its clock, and whether it could go back now. Each function is one key
of the status (schema agent). Nothing here changes anything, and nothing waits for more than a few seconds.
"""

from __future__ import annotations

import shutil

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from stack.agent.change.rollback import check_target
from stack.agent.host import Host
from stack.agent.machine.clock import Clock
from stack.agent.machine.room import shortage
from stack.agent.supervisor import View


def motion(view: View | None) -> dict[str, object] | None:
    """Whether the robot may move, who holds it, and what else keeps it from moving.

    None while the supervisor is silent.
    """
    if view is None:
        return None
    held = [{"owner": owner, "reason": reason} for owner, reason in zip(view.holders, view.hold_reasons, strict=True)]
    stopped_by = list(dict.fromkeys((*view.latched, *view.blocking)))
    return {"state": view.state, "armed": view.armed, "held": held, "stopped_by": stopped_by}


def disk(host: Host) -> dict[str, object]:
    """The fullest of the robot's disks; `shortage` says so where nothing could be staged."""
    free, folder = min((shutil.disk_usage(each).free, str(each)) for each in host.layout.disks)
    return {"folder": folder, "free_bytes": free, "shortage": shortage(host.layout.disks)}


def engine(host: Host, trouble: str | None) -> dict[str, object] | None:
    """Whether the engine that runs containers answers; None where none is used."""
    return None if host.config.runtime == "process" else {"alive": trouble is None, "trouble": trouble}


def clock(host: Host) -> dict[str, object]:
    """What this robot's clock says, and why that is not to be believed, if it is not."""
    here = Clock()
    return {"stands": here.stands().removeprefix("stands at "), "doubt": here.doubt(host.layout)}


def way_back(host: Host, trouble: str | None) -> dict[str, object]:
    """Where `rollback` would bring this robot, and why that could not be now.

    Where there is nothing to go back to, nothing is wrong.
    """
    on_probation = host.work.probation is not None
    target = host.store.current() if on_probation else host.store.previous()
    reason = trouble if on_probation or trouble else _refusal(host, target)
    return {"release": None if target is None else str(target), "reason": reason}


def _refusal(host: Host, target: Digest | None) -> str | None:
    if target is None:
        return None
    try:
        check_target(host, target)
        host.store.check_not_quarantined(target, "name another release")
    except HomeportError as error:
        return str(error)
    return None
