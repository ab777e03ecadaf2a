"""The decisions of a rollout as pure functions: who comes when, did a wave pass, whom to restore, what to report.

The playbooks carry, these filters decide, so that every decision has a table test. A robot counts as done only by `verified` in its own
registered result: unreachable, silent, rolled back and unverified are all failures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

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
    found: dict[str, Any] = {
        "release": release,
        "stage": "UNVERIFIED",
        "metric": None,
        "value": None,
        "threshold": None,
    }
    found["message"] = str(result.get("msg") or "the robot gave no proof of what it runs")
    if result.get("unreachable"):
        found |= {"stage": "UNREACHABLE", "metric": "unreachable"}
    elif result.get("silent"):
        found |= {"stage": "SILENT", "metric": "silent"}
    elif result.get("skipped"):
        found |= {"stage": "SKIPPED", "message": "the robot was not asked"}
    return found | dict(result.get("failure") or {}) | {"message": found["message"]}


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


def report(
    plan: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], verdict: Mapping[str, Any], release: str
) -> dict[str, Any]:
    """The outcome of a rollout: `release`, `halted`, `waves`, and for each host `ok`, `stage`, `running`, `failure`, `touched`, `restored`.

    `ok` means that the wanted release was seen running and committed; `restored` is null where there was nothing to restore.
    """
    hosts: dict[str, Any] = {}
    for host in plan["order"]:
        variables = hostvars[host]
        results = [
            result
            for name in (
                "homeport_staged",
                "homeport_switched",
                "homeport_committed",
                "homeport_undone",
                "homeport_reverted",
            )
            if (result := variables.get(name)) and not result.get("skipped")
        ]
        undone = variables.get("homeport_undone"), variables.get("homeport_reverted")
        restored = [result.get("verified") is True for result in undone if result and not result.get("skipped")]
        failure = verdict["failed"].get(host)
        committed = (variables.get("homeport_committed") or {}).get("verified") is True
        status: Mapping[str, Any] = next((result["status"] for result in reversed(results) if result.get("status")), {})
        hosts[host] = {
            "ok": committed and not restored and failure is None,
            "stage": failure["stage"] if failure else status.get("stage", "UNKNOWN"),
            "running": status.get("running"),
            "failure": failure,
            "touched": bool((variables.get("homeport_switched") or {}).get("touched")),
            "restored": all(restored) if restored else None,
            "plan": (variables.get("homeport_staged") or {}).get("result", {}).get("plan"),
        }
    lead = "The rollout was halted. " if verdict["halted"] else ""
    fields = {"release": release, "halted": verdict["halted"], "waves": plan["waves"], "hosts": hosts}
    return fields | {"summary": summary(hosts, lead)}


def outcome(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`hosts` with whether any of them `failed`, and a `summary`."""
    return {"hosts": hosts, "failed": any(not host["ok"] for host in hosts.values()), "summary": summary(hosts, "")}


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
    }


def restored(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], register: str) -> dict[str, Any]:
    """The outcome of rollback.yml. Minimal on purpose: a robot is back when its old release was seen running and committed."""
    results = {host: hostvars[host].get(register) or {} for host in hosts}
    return outcome({host: host_line(result, failure_of(result, "")) for host, result in results.items()})


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
    results = {host: hostvars[host].get(register) or {} for host in hosts}
    return outcome({host: host_line(result, drift_of(result, release)) for host, result in results.items()})


def table(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The hosts of a report as plain text, one line each."""
    rows = [("robot", "release", "stage", "ok", "why not")]
    for name, host in hosts.items():
        running, failure = host.get("running"), host.get("failure")
        release = f"{running['version']} {running['digest'][7:19]}" if running else "-"
        why = failure["message"] if failure else "" if host["ok"] else "not reached"
        if (plan := host.get("plan")) and plan["steps"] and not failure:
            why = f"would {', '.join(step.lower() for step in plan['steps'])}; {plan['bytes']} bytes known to fetch"
        if host.get("restored") is not None:
            why = (
                f"{why if failure else 'undone with the others'}; {'restored' if host['restored'] else 'NOT RESTORED'}"
            )
        rows.append((name, release, str(host["stage"]), "yes" if host["ok"] else "no", why))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
    )


def key_name(pem: str) -> str:
    """The sha256 of a public key's SPKI as 64 hex characters, which is the name it is trusted by."""
    body = pem.strip()
    if not body.startswith(PEM_HEAD) or not body.endswith(PEM_TAIL) or body.count("-----BEGIN") != 1:
        raise AnsibleFilterError("homeport_public_keys: expected one PEM public key per file, never a private key")
    try:
        der = base64.b64decode("".join(body[len(PEM_HEAD) : -len(PEM_TAIL)].split()), validate=True)
    except binascii.Error as error:
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
            "homeport_statuses": statuses,
            "homeport_table": table,
            "homeport_key_name": key_name,
        }
