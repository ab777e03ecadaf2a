"""What is told of robots as they are now."""

from __future__ import annotations

from typing import Any

from tests.unit.ansible.test_waves import NEW, OLD, load

statuses = load("ansible/plugins/filter/statuses.py")
HERE: dict[str, Any] = {
    "motion": {"state": "RUN", "armed": True, "held": [], "stopped_by": []},
    "disk": {"folder": "/", "free_bytes": 9 << 30, "shortage": None},
    "engine": {"alive": True, "trouble": None},
    "clock": {"stands": "2026-11-30 10:00 UTC", "doubt": None},
    "way_back": {"release": NEW, "reason": None},
    "last": None,
    "failure": None,
}
WELL: dict[str, Any] = HERE | {
    "stage": "IDLE",
    "healthy": True,
    "problems": [],
    "running": {"digest": OLD, "version": "1.0.0"},
    "current": {"digest": OLD, "version": "1.0.0"},
}
CHECKS = [
    {"check": "keys", "verdict": "ok", "text": "1 trusted", "fix": None},
    {"check": "clock", "verdict": "warn", "text": "nothing keeps it right", "fix": "enable chrony"},
]
BAD = {"check": "docker", "verdict": "fail", "text": "no answer", "fix": "restart it"}


def told(doctor: dict | None = None, **changes: Any) -> tuple[dict[str, Any], str]:
    """The line of one robot and its table, with these changes of its status."""
    hostvars = {"a": {"reg": {"verified": True, "status": WELL | changes}, "doc": doctor}}
    found = statuses.statuses(["a"], hostvars, "reg", "", "doc")
    return found["hosts"]["a"], statuses.status_table(found["hosts"])


def test_a_robot_that_could_not_be_rolled_back_now_is_not_well() -> None:
    line, table = told(way_back={"release": NEW, "reason": "docker: its daemon hangs; restart it"})

    assert not line["ok"] and "could not be rolled back now: docker: its daemon hangs; restart it" in table


def test_what_there_is_to_know_of_a_robot_is_below_the_table() -> None:
    failure = {"release": NEW, "stage": "PROBATION", "message": "late"}
    line, table = told(
        motion={
            "state": "SAFE_STOP",
            "armed": False,
            "held": [{"owner": "ann", "reason": "wet"}],
            "stopped_by": ["scan"],
        },
        disk={"folder": "/", "free_bytes": 1 << 20, "shortage": "/: only 1048576 bytes free"},
        clock={"stands": "1970", "doubt": "nothing keeps it right"},
        last={"wall": "2026-11-30", "release": NEW, "stage": "FAILED", "deployment": "x"},
        failure=failure,
    )

    row, *below = table.splitlines()[1:]
    assert line["ok"] and "held 0 GiB" in " ".join(row.split()) and NEW[7:19] in row
    assert below == [
        "a: held by ann: wet",
        "a: does not move: scan",
        f"a: last failure (2026-11-30, {NEW[7:19]} in PROBATION): late",
        "a: disk: /: only 1048576 bytes free",
        "a: clock: nothing keeps it right",
    ]


def test_a_robot_that_is_not_armed_says_so() -> None:
    _, table = told(motion={"state": "SAFE_STOP", "armed": False, "held": [], "stopped_by": []})
    assert "SAFE_STOP, not armed" in table
    assert "  ?  " in told(motion=None)[1]


def test_the_doctor_of_a_robot_is_heard_and_only_a_fault_is_a_failure() -> None:
    warned, table = told({"result": {"checks": CHECKS}})
    assert warned["ok"] and "a: doctor warn, clock: nothing keeps it right; enable chrony" in table

    failed, _ = told({"result": {"checks": [*CHECKS, BAD]}}, healthy=False, problems=["sick"])
    assert not failed["ok"] and failed["failure"]["message"] == "sick; doctor, docker: no answer"

    assert (
        told({"skipped": True})[0]["doctor"]
        == []
        == told(None)[0]["doctor"]
        == told({"unreachable": True})[0]["doctor"]
    )
    silent, _ = told(
        {"msg": "the agent did not answer 'doctor' in 120 s; see what it does there (homeport-agent status)"}
    )
    assert "did not answer 'doctor'" in silent["failure"]["message"]


def test_drift_is_unhealthy_uncommitted_unwanted_or_unknown() -> None:
    def status(running: str | None, current: str | None, problems: list[str]) -> dict:
        known = {name: digest and {"digest": digest, "version": "1.0.0"} for name, digest in
                 (("running", running), ("current", current))}  # fmt: skip
        return {
            "verified": True,
            "status": known | {"stage": "IDLE", "healthy": not problems, "problems": problems, **HERE},
        }

    results = {
        "well": status(OLD, OLD, []),
        "sick": status(OLD, OLD, ["slot a: no process runs"]),
        "trial": status(NEW, OLD, []),
        "other": status(NEW, NEW, []),
        "gone": {"unreachable": True, "msg": "no route"},
    }

    found = statuses.statuses(results, {host: {"reg": result} for host, result in results.items()}, "reg", OLD)

    assert [host for host, line in found["hosts"].items() if line["ok"]] == ["well"]
    assert found["failed"] and "1 of 5 robots" in found["summary"]
    assert "is wanted" in found["hosts"]["other"]["failure"]["message"]
