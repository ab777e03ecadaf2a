"""What is told of a run: each robot's story from its own answers, as a document and as a table for people.

A story comes from the robot's journal where there is one: `last` and `failure` of its status, not what the controller
believes to have asked for. `homeport_report` is for deploy.yml; rollback.yml, drain.yml and prune.yml take
`homeport_rolled_back`, `homeport_restored` and `homeport_pruned`, status.yml what is in statuses.py.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.homeport.fleet.plugins.filter.waves import failure_of
from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible

Values = Mapping[str, Any]
STEPS = ("staged", "switched", "committed", "undone", "reverted")


def endings(results: Iterable[Values]) -> list[Values]:
    """How changes of what drives have ended on a robot, as these results saw it before and after their call."""
    told: list[Values] = []
    for result in results:
        if result.get("found"):
            told.append(result["found"])
        status = result.get("status") or {}
        if status.get("last"):
            told.append({**status["last"], "failure": status.get("failure")})
    return told


def went_back(staged: Values, later: Iterable[Values], release: str) -> dict[str, Any] | None:
    """Why a robot has left the release by itself since it was staged; None when it has not.

    What was left on request has no failure.
    """
    before = ((staged.get("status") or {}).get("last") or {}).get("deployment")
    for ending in endings(later):
        ours = ending["release"] == release and ending["deployment"] != before
        failure = ending["failure"] if ending["stage"] == "FAILED" else None
        if ours and failure and failure["metric"] != "request":
            return dict(failure)
    return None


def gates_of(results: Iterable[Values]) -> list[dict[str, Any]]:
    """The gates that a release went through on one robot, with their figures.

    The results of one change name those before them as well.
    """
    proof, *drives = [list((result.get("result") or {}).get("gates") or []) for result in results]
    return proof + max(drives, key=len, default=[])


def story_of(line: Values, by_itself: bool) -> str:
    """One word or two for what became of a robot in a rollout."""
    if line["ok"]:
        return "done"
    if by_itself:
        return "went back"
    if line["failure"]:
        return "failed"
    if line["restored"]:
        return "undone"
    return "planned" if line["plan"] else "not its turn"


def rollout_line(variables: Values, verdict: Values | None, release: str) -> dict[str, Any]:
    """What the report of a rollout says about one host.

    It comes from what the host's tasks have registered, and from the `verdict` on them.
    """
    found = [variables.get(f"homeport_{step}") or {} for step in STEPS]
    staged, switched, committed, *undone = results = [{} if result.get("skipped") else result for result in found]
    restored = [result.get("verified") is True for result in undone if result]
    status: Values = next((result["status"] for result in reversed(results) if result.get("status")), {})
    itself = went_back(staged, results[1:], release) if switched.get("touched") else None
    failure = itself or verdict
    if failure is None and restored and not all(restored):
        failure = failure_of(next(result for result in undone if result and not result.get("verified")), release)
    line = {
        "ok": committed.get("verified") is True and not restored and failure is None,
        "stage": failure["stage"] if failure else status.get("stage", "UNKNOWN"),
        "running": status.get("running"),
        "failure": failure,
        "touched": bool(switched.get("touched")),
        "restored": all(restored) if restored else None,
        "quarantined": release in (status.get("quarantined") or []),
        "gates": gates_of((staged, switched, committed)),
        "plan": staged.get("result", {}).get("plan"),
    }
    return line | {"story": story_of(line, itself is not None)}


def report(plan: Values, hostvars: Mapping[str, Values], verdict: Values, release: str, again: str) -> dict[str, Any]:
    """The outcome of a rollout: `release`, `halted`, `waves`, `summary`, and for each host what `rollout_line` says.

    `ok` means that the wanted release was seen running and committed; `restored` is null where there was nothing to
    restore. `refuses` are the robots that have it in quarantine; `notice` names them with `again`, the command that
    lets them take it once more.
    """
    hosts = {host: rollout_line(hostvars[host], verdict["failed"].get(host), release) for host in plan["order"]}
    lead = "The rollout was halted. " if verdict["halted"] else ""
    refuses = [name for name, host in hosts.items() if host["quarantined"]]
    notice = f"In quarantine on {', '.join(refuses)}, which will refuse it next time. Once the cause is gone: {again}"
    fields = {"release": release, "halted": verdict["halted"], "waves": plan["waves"], "hosts": hosts}
    return fields | {"refuses": refuses, "notice": notice if refuses else "", "summary": summary(hosts, lead)}


def inventory_words(sources: Iterable[str] | str) -> list[str]:
    """The inventory of a run, as a command says it."""
    given = [sources] if isinstance(sources, str) else list(sources)
    return [f"INVENTORY={shlex.quote(each)}" for each in given[:1]]


def command(release: str, sources: Iterable[str] | str, limit: str | None = None) -> str:
    """The words that roll a release out once more, also on robots that have it in quarantine."""
    words = ["make", "deploy", *inventory_words(sources), f"RELEASE={release}"]
    return " ".join([*words, *([f"LIMIT={shlex.quote(limit)}"] if limit else []), "RETRY=1"])


def summary(hosts: Mapping[str, Values], lead: str) -> str:
    """One sentence for the end of a run: how many robots are fine, and the first reason for each that is not."""
    good = sum(1 for host in hosts.values() if host["ok"])
    reasons = [f"{name}: {host['failure']['message']}" for name, host in hosts.items() if host["failure"]]
    return visible(f"{lead}{good} of {len(hosts)} robots are as wanted. " + " | ".join(reasons[:10]))


def outcome(
    hosts: Iterable[str],
    hostvars: Mapping[str, Values],
    register: str,
    judge: Callable[[Values], dict[str, Any] | None],
) -> dict[str, Any]:
    """Every host by what `judge` finds wrong with its result, whether any of them `failed`, and a `summary`."""
    results = {host: hostvars[host].get(register) or {} for host in hosts}
    lines = {host: host_line(result, judge(result)) for host, result in results.items()}
    return {"hosts": lines, "failed": any(not line["ok"] for line in lines.values()), "summary": summary(lines, "")}


def host_line(result: Values, failure: Values | None) -> dict[str, Any]:
    """What a report says about one host outside of a rollout."""
    status = result.get("status") or {}
    answer = result.get("result") or {}
    return {
        "ok": failure is None,
        "stage": status.get("stage") or (failure or {}).get("stage", "UNKNOWN"),
        "running": status.get("running"),
        "failure": failure,
        "touched": bool(result.get("touched")),
        "restored": None,
        "gates": list(answer.get("gates") or []),
        "bytes_fetched": answer.get("bytes_fetched", 0),
        "freed": freed(answer, bool(result.get("predicted"))),
    }


def freed(result: Values, predicted: bool) -> str | None:
    """One sentence about what was pruned, or None when nothing was asked for."""
    if result.get("verb") != "prune":
        return None
    kinds = Counter(str(each["kind"]) for each in result["removed"])
    things = ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "nothing to remove"
    return f"{'would free' if predicted else 'freed'} {result['bytes_freed'] >> 20} MiB: {things}"


def restored(hosts: Iterable[str], hostvars: Mapping[str, Values], register: str) -> dict[str, Any]:
    """Whether every robot was seen as wanted.

    Minimal on purpose: a robot is back when its old release was seen running and committed.
    """
    return outcome(hosts, hostvars, register, lambda result: failure_of(result, ""))


def rolled_back(
    hosts: Iterable[str], hostvars: Mapping[str, Values], register: str, to: str, sources: Iterable[str] | str
) -> dict[str, Any]:
    """The outcome of rollback.yml.

    `notice` names the robots that are not back, with the command for those alone: `previous` of a robot that is back
    is the release that it came from.
    """
    found = restored(hosts, hostvars, register)
    left = [host for host, line in found["hosts"].items() if not line["ok"]]
    target = [] if to == "previous" else [f"TO={to}"]
    again = " ".join(["make", "rollback", *inventory_words(sources), *target, f"LIMIT={','.join(left)}"])
    notice = f"Not back: {', '.join(left)}. Once they are repaired, for them alone: {again}"
    return found | {"notice": notice if left else ""}


def pruned(hosts: Iterable[str], hostvars: Mapping[str, Values], register: str) -> dict[str, Any]:
    """The outcome of prune.yml, with the bytes of the whole fleet in its `summary`."""
    found = restored(hosts, hostvars, register)
    total = sum(((hostvars[host].get(register) or {}).get("result") or {}).get("bytes_freed", 0) for host in hosts)
    return found | {"bytes_freed": total, "summary": f"{total >> 20} MiB on all robots. {found['summary']}"}


def why(host: Values) -> str:
    """The last column of a table: what became of a robot that is not as wanted, or what was done to one that is."""
    failure = host.get("failure")
    story = host.get("story")
    plan = host.get("plan")
    back = {None: "", True: "restored", False: "NOT RESTORED"}[host.get("restored")]
    if failure:
        text = ("went back by itself: " if story == "went back" else "") + str(failure["message"])
    elif story == "undone":
        text = "undone with the others"
    elif plan and plan["steps"]:
        text = f"would {', '.join(step.lower() for step in plan['steps'])}; {plan['bytes']} bytes known to fetch"
    else:
        text = host.get("freed") or ("not its turn, the rollout was halted before" if story == "not its turn" else "")
    return "; ".join(part for part in (text, back, "in quarantine" if host.get("quarantined") else "") if part)


def aligned(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of cells as plain text, one line each."""
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def named(release: Values | None) -> str:
    """A release as a table names it."""
    return f"{release['version']} {release['digest'][7:19]}" if release else "-"


def table(hosts: Mapping[str, Values]) -> str:
    """The hosts of a report as plain text, one line each."""
    rows = [("robot", "release", "stage", "ok", "why not")]
    for name, host in hosts.items():
        rows.append((name, named(host.get("running")), str(host["stage"]), "yes" if host["ok"] else "no", why(host)))
    return aligned(rows)


def target_line(result: Values, to: str) -> tuple[str, str, str]:
    """What a robot runs, where a rollback would bring it, and what there is to know about that."""
    status = result.get("status")
    if not status:
        return (
            "-",
            "?",
            f"it does not say ({(failure_of(result, '') or {}).get('message')}); it is asked to go back all the same",
        )
    named_by_status = {"previous": status["previous"], "fallback": status["fallback"]}
    if to == "previous" and status["stage"] == "PROBATION":
        target = status["current"]
        note = "on probation, and taken back"
    elif to in named_by_status:
        target = named_by_status[to]
        note = ""
    else:
        known = [status[name] for name in ("running", "current", "previous", "fallback")]
        target = next((each for each in known if each and each["digest"] == to), None)
        return named(status["running"]), named(target) if target else to[7:19], ""
    if target is None:
        return named(status["running"]), "-", f"has no {to}; it stays"
    if target["digest"] in status["quarantined"]:
        note = "in quarantine there; it is refused"
    return named(status["running"]), named(target), note


def targets(hosts: Iterable[str], hostvars: Mapping[str, Values], register: str, to: str) -> str:
    """Where each robot would go, before it goes, as a table."""
    found = [(host, *target_line(hostvars[host].get(register) or {}, to)) for host in hosts]
    return aligned([("robot", "runs", "goes to", ""), *found])


class FilterModule:
    """What the playbooks see."""

    def filters(self) -> dict[str, Any]:
        return {
            "homeport_report": report,
            "homeport_again": command,
            "homeport_restored": restored,
            "homeport_rolled_back": rolled_back,
            "homeport_pruned": pruned,
            "homeport_table": table,
            "homeport_targets": targets,
        }
