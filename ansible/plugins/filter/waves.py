"""The decisions of a rollout as pure functions: who comes when, did a wave pass, whom to restore, what to report.

The playbooks carry, these filters decide, so that every decision has a table test. A robot counts as done only by `verified` in its own
registered result: unreachable, silent, rolled back and unverified are all failures.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

STEPS = ("staged", "switched", "committed", "undone", "reverted")
KEY = ("homeport_row", "homeport_site", "homeport_embodiment")
PEM_HEAD = "-----BEGIN PUBLIC KEY-----"
PEM_TAIL = "-----END PUBLIC KEY-----"


def plan(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], percentages: Iterable[float] = (100,)
) -> dict[str, Any]:
    """Waves: first one robot of every row × site × embodiment, then the rest up to each percentage in turn.

    Returns `order` (all hosts), `sizes` (for `serial`, no zeros) and `waves` (lists of hosts). The same fleet gives the same plan.
    """
    steps = list(percentages)
    if not steps or steps != sorted(set(steps)) or steps[0] <= 0 or steps[-1] != 100:
        raise AnsibleFilterError(f"homeport_percentages: expected rising numbers that end with 100, got {steps}")
    names = sorted(set(hosts))
    if not names:
        raise AnsibleFilterError("homeport_hosts: no robot matches; name a host or group of the inventory")
    kinds: dict[tuple[str, ...], str] = {}
    for name in names:
        kinds.setdefault(tuple(str(hostvars[name].get(key) or "") for key in KEY), name)
    canaries = sorted(kinds.values())
    rest = [name for name in names if name not in canaries]
    ends = [-(-len(rest) * step // 100) for step in steps]
    parts = [rest[int(start) : int(end)] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    waves = [canaries, *(part for part in parts if part)]
    return {"order": [name for wave in waves for name in wave], "sizes": [len(wave) for wave in waves], "waves": waves}


def failure_of(result: Mapping[str, Any] | None, release: str) -> dict[str, Any] | None:
    """Why a registered result is no proof (in check mode: no prediction), or None when it is one."""
    if result is not None and (result.get("verified") is True or result.get("predicted") is True):
        return None
    result = result or {}
    message = str(result.get("msg") or "the robot gave no proof of what it runs")
    found = {"release": release, "stage": "UNVERIFIED", "metric": None, "value": None, "threshold": None}
    if result.get("unreachable"):
        found |= {"stage": "UNREACHABLE", "metric": "unreachable"}
    elif result.get("silent"):
        found |= {"stage": "SILENT", "metric": "silent"}
    elif result.get("skipped"):
        found["stage"], message = "SKIPPED", "the robot was not asked"
    return found | dict(result.get("failure") or {}) | {"message": message}


def verdict(
    earlier: Mapping[str, Any],
    wave: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    register: str,
    release: str,
    canaries: Iterable[str],
    max_failed: int = 0,
) -> dict[str, Any]:
    """Compare the planned `wave` with the results its hosts registered as `register`, on top of an `earlier` verdict.

    Returns `halted`, `failed` (host → failure, over the whole run) and `passed` (of this wave). A failed canary always halts.
    """
    asked = [host for host in wave if host not in earlier["failed"]]
    found = {host: failure_of(hostvars[host].get(register), release) for host in asked}
    failed = dict(earlier["failed"]) | {host: failure for host, failure in found.items() if failure}
    halted = earlier["halted"] or len(failed) > int(max_failed) or not set(canaries).isdisjoint(failed)
    return {"halted": bool(halted), "failed": failed, "passed": [host for host in asked if not found[host]]}


def undo_target(result: Mapping[str, Any]) -> str | None:
    """Where a host goes back to after this result of `switched`: the release it ran before, or None when it is not to be touched.

    A silent robot may have switched before it fell silent, so it is asked too; one that refused or was skipped is not.
    """
    stands = result.get("before") is None and result.get("running") is None and not result.get("silent")
    if not result.get("touched") or stands:
        return None
    return result.get("before") or "previous"


def summary(hosts: Mapping[str, Mapping[str, Any]], lead: str) -> str:
    """One sentence for the end of a run: how many robots are fine, and the first reason for each that is not."""
    good = sum(1 for host in hosts.values() if host["ok"])
    reasons = [f"{name}: {host['failure']['message']}" for name, host in hosts.items() if host["failure"]]
    return f"{lead}{good} of {len(hosts)} robots are as wanted. " + " | ".join(reasons[:10])


def rollout_line(variables: Mapping[str, Any], failure: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the report of a rollout says about one host, from what its tasks have registered."""
    found = [variables.get(f"homeport_{step}") or {} for step in STEPS]
    staged, switched, committed, *undone = results = [{} if result.get("skipped") else result for result in found]
    restored = [result.get("verified") is True for result in undone if result]
    status: Mapping[str, Any] = next((result["status"] for result in reversed(results) if result.get("status")), {})
    return {
        "ok": committed.get("verified") is True and not restored and failure is None,
        "stage": failure["stage"] if failure else status.get("stage", "UNKNOWN"),
        "running": status.get("running"),
        "failure": failure,
        "touched": bool(switched.get("touched")),
        "restored": all(restored) if restored else None,
        "plan": staged.get("result", {}).get("plan"),
    }


def report(
    plan: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], verdict: Mapping[str, Any], release: str
) -> dict[str, Any]:
    """The outcome of a rollout: `release`, `halted`, `waves`, and for each host `ok`, `stage`, `running`, `failure`, `touched`, `restored`.

    `ok` means that the wanted release was seen running and committed; `restored` is null where there was nothing to restore.
    """
    hosts = {host: rollout_line(hostvars[host], verdict["failed"].get(host)) for host in plan["order"]}
    lead = "The rollout was halted. " if verdict["halted"] else ""
    fields = {"release": release, "halted": verdict["halted"], "waves": plan["waves"], "hosts": hosts}
    return fields | {"summary": summary(hosts, lead)}


def outcome(
    hosts: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    register: str,
    judge: Callable[[Mapping[str, Any]], dict[str, Any] | None],
) -> dict[str, Any]:
    """Every host by what `judge` finds wrong with its result, whether any of them `failed`, and a `summary`."""
    results = {host: hostvars[host].get(register) or {} for host in hosts}
    lines = {host: host_line(result, judge(result)) for host, result in results.items()}
    return {"hosts": lines, "failed": any(not line["ok"] for line in lines.values()), "summary": summary(lines, "")}


def host_line(result: Mapping[str, Any], failure: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a report says about one host outside of a rollout."""
    status = result.get("status") or {}
    return {
        "ok": failure is None,
        "stage": status.get("stage") or (failure or {}).get("stage", "UNKNOWN"),
        "running": status.get("running"),
        "failure": failure,
        "touched": bool(result.get("touched")),
        "restored": None,
        "bytes_fetched": (result.get("result") or {}).get("bytes_fetched", 0),
        "freed": freed(result.get("result") or {}, bool(result.get("predicted"))),
    }


def freed(result: Mapping[str, Any], predicted: bool) -> str | None:
    """One sentence about what was pruned, or None when nothing was asked for."""
    if result.get("verb") != "prune":
        return None
    kinds = Counter(str(each["kind"]) for each in result["removed"])
    things = ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "nothing to remove"
    return f"{'would free' if predicted else 'freed'} {result['bytes_freed'] >> 20} MiB: {things}"


def restored(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], register: str) -> dict[str, Any]:
    """The outcome of rollback.yml. Minimal on purpose: a robot is back when its old release was seen running and committed."""
    return outcome(hosts, hostvars, register, lambda result: failure_of(result, ""))


def pruned(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], register: str) -> dict[str, Any]:
    """The outcome of prune.yml, with the bytes of the whole fleet in its `summary`."""
    found = restored(hosts, hostvars, register)
    total = sum(((hostvars[host].get(register) or {}).get("result") or {}).get("bytes_freed", 0) for host in hosts)
    return found | {"bytes_freed": total, "summary": f"{total >> 20} MiB on all robots. {found['summary']}"}


def drift_of(result: Mapping[str, Any], release: str) -> dict[str, Any] | None:
    """Why a host is not as wanted, or None."""
    status = result.get("status")
    if not status or result.get("verified") is not True:
        return failure_of({**result, "verified": False}, release)
    running, current = (status[name] or {} for name in ("running", "current"))
    problems = [] if status["healthy"] else list(status["problems"] or ["not healthy"])
    if running.get("digest") != current.get("digest"):
        problems.append("what runs is not what is committed")
    if release and running.get("digest") != release:
        problems.append(f"{release[7:19]} is wanted")
    return {"stage": status["stage"], "metric": None, "message": "; ".join(problems)} if problems else None


def statuses(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], register: str, release: str = ""
) -> dict[str, Any]:
    """The outcome of status.yml: a robot is well when it answers, is healthy, and runs what it committed (and `release`, if given)."""
    return outcome(hosts, hostvars, register, lambda result: drift_of(result, release))


def table(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The hosts of a report as plain text, one line each."""
    rows = [("robot", "release", "stage", "ok", "why not")]
    for name, host in hosts.items():
        running, failure = host.get("running"), host.get("failure")
        release = f"{running['version']} {running['digest'][7:19]}" if running else "-"
        why = failure["message"] if failure else host.get("freed") or ("" if host["ok"] else "not reached")
        if (plan := host.get("plan")) and plan["steps"] and not failure:
            why = f"would {', '.join(step.lower() for step in plan['steps'])}; {plan['bytes']} bytes known to fetch"
        if host.get("restored") is not None:
            why = why if failure else "undone with the others"
            why += "; restored" if host["restored"] else "; NOT RESTORED"
        rows.append((name, release, str(host["stage"]), "yes" if host["ok"] else "no", why))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def key_name(pem: str) -> str:
    """The sha256 of a public key's SPKI as 64 hex characters, which is the name it is trusted by."""
    body = pem.strip()
    if not body.startswith(PEM_HEAD) or not body.endswith(PEM_TAIL) or body.count("-----BEGIN") != 1:
        raise AnsibleFilterError("homeport_public_keys: expected one PEM public key per file, never a private key")
    try:
        der = base64.b64decode("".join(body[len(PEM_HEAD) : -len(PEM_TAIL)].split()), validate=True)
    except ValueError as error:
        raise AnsibleFilterError(f"homeport_public_keys: the PEM file is damaged ({error})") from error
    return hashlib.sha256(der).hexdigest()


class FilterModule:
    """What the playbooks see."""

    def filters(self) -> dict[str, Any]:
        return {
            "homeport_waves": plan,
            "homeport_verdict": verdict,
            "homeport_undo": undo_target,
            "homeport_report": report,
            "homeport_restored": restored,
            "homeport_pruned": pruned,
            "homeport_statuses": statuses,
            "homeport_table": table,
            "homeport_key_name": key_name,
        }
