"""What is told of robots as they are now: status.yml, with the doctor's findings where they were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.homeport.fleet.plugins.filter.reports import Values, aligned, host_line, named, summary
from ansible_collections.homeport.fleet.plugins.filter.waves import failure_of
from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible


def findings(result: Values | None) -> list[dict[str, Any]]:
    """The lines of the doctor that are not ok, or that it did not answer; nothing when it was not asked."""
    if not result or result.get("skipped") or result.get("unreachable"):
        return []
    if "checks" not in (answer := result.get("result") or {}):
        fix = "look at the robot"
        return [{"check": "doctor", "verdict": "fail", "text": visible(result.get("msg") or "no answer"), "fix": fix}]
    return [each for each in answer["checks"] if each["verdict"] != "ok"]


def drift_of(result: Values, release: str) -> dict[str, Any] | None:
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
    if (stuck := status["way_back"]["reason"]) is not None:
        problems.append(f"could not be rolled back now: {stuck}")
    return {"stage": status["stage"], "metric": None, "message": "; ".join(problems)} if problems else None


def line_of(result: Values, doctor: Values | None, release: str) -> dict[str, Any]:
    """One host of a status.

    It has what runs, whether the robot may move, its disk, engine, clock and way back, and its last failure.
    """
    status = result.get("status") or {}
    found = findings(doctor)
    failure = drift_of(result, release)
    if bad := [each for each in found if each["verdict"] == "fail"]:
        told = "; ".join(
            [*([failure["message"]] if failure else []), *(f"doctor, {each['check']}: {each['text']}" for each in bad)]
        )
        failure = {"stage": status.get("stage", "UNKNOWN"), "metric": "doctor", **(failure or {}), "message": told}
    seen = {name: status.get(name) for name in ("motion", "disk", "engine", "clock", "way_back", "last")}
    return host_line(result, failure) | seen | {"last_failure": status.get("failure"), "doctor": found}


def statuses(
    hosts: Iterable[str], hostvars: Mapping[str, Values], register: str, release: str = "", doctor: str = ""
) -> dict[str, Any]:
    """The outcome of status.yml: a robot is well when it answers, is healthy, runs what it committed (and `release`, if
    given), could be rolled back now, and its doctor, registered as `doctor`, finds nothing wrong.
    """
    found = {host: hostvars[host] for host in hosts}
    lines = {host: line_of(each.get(register) or {}, each.get(doctor), release) for host, each in found.items()}
    return {"hosts": lines, "failed": any(not line["ok"] for line in lines.values()), "summary": summary(lines, "")}


def motion_of(motion: Values | None) -> str:
    """Whether a robot may move, in a word or two."""
    if not motion:
        return "?"
    if motion["held"]:
        return "held"
    return str(motion["state"]) if motion["armed"] else f"{motion['state']}, not armed"


def notes(host: Values) -> Iterable[str]:
    """What there is to know of a host beside its row."""
    motion, disk, engine, clock = (host.get(name) or {} for name in ("motion", "disk", "engine", "clock"))
    yield from (f"held by {each['owner']}: {each['reason']}" for each in motion.get("held") or [])
    if stopped := motion.get("stopped_by"):
        yield f"does not move: {', '.join(stopped)}"
    if (failure := host.get("last_failure")) and (last := host.get("last")):
        yield f"last failure ({last['wall']}, {failure['release'][7:19]} in {failure['stage']}): {failure['message']}"
    if disk.get("shortage"):
        yield f"disk: {disk['shortage']}"
    if engine.get("trouble"):
        yield f"engine: {engine['trouble']}"
    if clock.get("doubt"):
        yield f"clock: {clock['doubt']}"
    for each in host.get("doctor") or []:
        yield f"doctor {each['verdict']}, {each['check']}: {each['text']}{'; ' + each['fix'] if each['fix'] else ''}"


def status_table(hosts: Mapping[str, Values]) -> str:
    """The robots as plain text, one line each, and below it a line for each thing to know of one."""
    rows = [("robot", "release", "stage", "motion", "disk", "back to", "ok", "why not")]
    for name, host in hosts.items():
        disk = host.get("disk")
        failure = host.get("failure")
        free = f"{disk['free_bytes'] >> 30} GiB" if disk else "?"
        back = ((host.get("way_back") or {}).get("release") or "")[7:19] or "-"
        why = failure["message"] if failure else ""
        state = (named(host.get("running")), str(host["stage"]), motion_of(host.get("motion")), free, back)
        rows.append((name, *state, "yes" if host["ok"] else "no", why))
    below = [visible(f"{name}: {note}") for name, host in hosts.items() for note in notes(host)]
    return "\n".join([aligned(rows), *below])


class FilterModule:
    """What status.yml sees."""

    def filters(self) -> dict[str, Any]:
        return {"homeport_statuses": statuses, "homeport_status_table": status_table}
