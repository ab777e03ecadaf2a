#!/usr/bin/env python3
"""A stand-in for `homeport-agent`: the same command line and the same JSON, its whole robot in one file below --root.

`ROOT/faults.json` switches faults on: {"stage": "fail" | "locked", "probation": "fail" | "silent" | "garbage",
"commit": "fail", "later": true, "status": "garbage"}: with `later` a release goes back by itself, into quarantine,
before anybody asks again. `ROOT/agent.json` keeps the state and, under `journal`, every verb that could change
something, with its monotonic time.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__)

EMPTY = {"current": None, "previous": None, "fallback": None, "running": None, "staged": [], "stage": "IDLE"}
EMPTY |= {
    "quarantined": [],
    "failure": None,
    "journal": [],
    "deadline": None,
    "held": False,
    "revoked": [],
    "unneeded": [],
    "before": None,
    "last": None,
    "by": None,
}


class Refusal(Exception):
    def __init__(self, code: int, message: str, failure: dict | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.failure = failure


class FakeRobot:
    def __init__(self, root: Path) -> None:
        self.path = root / "agent.json"
        faults = root / "faults.json"
        self.faults = json.loads(faults.read_text()) if faults.exists() else {}
        self.state = EMPTY | (json.loads(self.path.read_text()) if self.path.exists() else {})
        if self.state["stage"] == "PROBATION" and time.monotonic() > self.state["deadline"]:
            self.state |= {"running": self.state["current"], "stage": "FAILED"}
            self.save()

    def save(self) -> None:
        self.path.write_text(json.dumps(self.state))

    def log(self, verb: str) -> None:
        self.state["journal"].append([verb, time.monotonic()])
        self.save()

    def fault(self, point: str, release: str) -> None:
        """Show the fault switched on at `point`, if there is one."""
        kind = self.faults.get(point)
        if kind == "silent":
            signal.pause()
        if kind == "garbage":
            print("Segmentation fault")
            raise SystemExit(139)
        if kind == "locked":
            held = "switch by ann@one (uid 0, pid 7) is running since 2026-11-30T10:00:00.000+00:00"
            raise Refusal(6, f"{point}: {held}; wait for it, or roll it back")
        if kind == "fail":
            stage = {"stage": "PROVE", "probation": "PROBATION", "commit": "COMMIT"}[point]
            failure = {"release": release, "stage": stage, "metric": "inference_p99_ms", "value": 80.5}
            failure |= {"threshold": 33.0, "message": "inference is too slow"}
            self.go_back(failure)
            raise Refusal(1, f"release {release[7:19]}: inference is too slow; it was not committed", failure)

    def go_back(self, failure: dict) -> None:
        """By itself, for this failure."""
        quarantined = sorted({*self.state["quarantined"], failure["release"]})
        self.state |= {"failure": failure, "quarantined": quarantined, "stage": "FAILED"}
        self.state["running"] = self.state["current"]
        self.decide("FAILED", failure["release"])

    def decide(self, stage: str, release: str | None) -> None:
        """Write down how a change of what drives ended."""
        name = f"{(release or 'sha256:none')[7:19]}-{len(self.state['journal'])}"
        wall = "2026-11-30T10:00:00.000+00:00"
        self.state["last"] = {"deployment": name, "release": release, "stage": stage, "wall": wall}
        self.save()

    def later(self) -> None:
        """What happens while nobody looks."""
        if "later" in self.faults and self.state["stage"] == "PROBATION":
            message = "probation gate unhealthy: 30 % of its ticks missed"
            failure = {"release": self.state["running"], "stage": "PROBATION", "metric": "missed", "value": 0.3}
            self.go_back(failure | {"threshold": 0.1, "message": message})

    def result(self, verb: str, changed: bool, release: str | None, plan: dict | None = None) -> dict:
        fields = {"schema": 1, "verb": verb, "changed": changed, "release": release, "version": version(release)}
        fields |= {"stage": self.state["stage"], "bytes_fetched": 1000 if changed and verb == "stage" else 0}
        return fields | {
            "engines_built": 0,
            "seconds": 0.1,
            "plan": plan,
            "gates": [],
            "failure": None,
            "cutover": None,
        }

    def stage(self, options: argparse.Namespace) -> dict:
        release, state = options.release, self.state
        known = release in state["staged"] or release == state["current"]
        if options.dry_run:
            steps = [] if known else ["fetch", "verify", "build", "prove"]
            plan = {"bytes": 0 if known else 1000, "engine_build": not known, "steps": steps, "window": None}
            return self.result("stage", False, release, plan)
        if options.channel_record == "-":
            state["revoked"] = json.loads(sys.stdin.read())["revoked"]
            self.save()
        if release in state["revoked"]:
            raise Refusal(5, f"{release}: is revoked (channel record pilot:stable 1); deploy another release")
        if release in state["quarantined"] and not options.retry:
            raise Refusal(5, f"release {release[7:19]} failed on this robot before; use --retry to try it again")
        if known and not options.retry:
            return self.result("stage", False, release)
        self.log("stage")
        self.fault("stage", release)
        state["quarantined"] = [each for each in state["quarantined"] if each != release]
        state |= {"by": options.by, "staged": [*state["staged"], release], "stage": "READY"}
        self.save()
        return self.result("stage", True, release)

    def switch(self, options: argparse.Namespace) -> dict:
        release, state = options.release, self.state
        if state["running"] == release and (state["current"] == release or state["stage"] == "PROBATION"):
            return self.result("switch", False, release)
        if release not in state["staged"]:
            raise Refusal(5, f"release {release[7:19]} is not staged")
        self.log("switch")
        state |= {"running": release, "stage": "PROBATION", "deadline": time.monotonic() + options.deadline}
        self.save()
        self.fault("probation", release)
        if options.commit == "auto":
            self.commit(options)
        return self.result("switch", True, release)

    def commit(self, options: argparse.Namespace) -> dict:
        release, state = options.release, self.state
        if state["current"] == release:
            return self.result("commit", False, release)
        if state["stage"] != "PROBATION" or state["running"] != release:
            raise Refusal(5, f"{release}: not on probation here, so there is nothing to commit; ask for the status")
        self.log("commit")
        self.fault("commit", release)
        state |= {"before": state["previous"], "previous": state["current"], "current": release, "stage": "IDLE"}
        state |= {"fallback": state["fallback"] or release, "failure": None}
        self.decide("COMMIT", release)
        return self.result("commit", True, release)

    def rollback(self, options: argparse.Namespace) -> dict:
        state = self.state
        trial = state["stage"] == "PROBATION"
        named = {"previous": state["current" if trial else "previous"], "fallback": state["fallback"]}
        target = named.get(options.to, options.to)
        if target is None and not trial:
            raise Refusal(5, f"there is no {options.to} release to go back to")
        changed = state["running"] != target or state["current"] != target
        if changed:
            self.log("rollback")
            left = state["before"] if options.undo else state["current"]
            previous = state["previous"] if trial else left
            state |= {"running": target, "current": target, "previous": previous, "stage": "IDLE", "failure": None}
            self.decide("FAILED" if trial else "COMMIT", target)
        return self.result("rollback", changed, target)

    def hold(self, options: argparse.Namespace) -> dict:
        changed = not self.state["held"]
        self.log("hold")
        self.state["held"] = True
        self.save()
        return self.result("hold", changed, self.state["running"])

    def drain(self, options: argparse.Namespace) -> dict:
        if "moving" in self.faults:
            raise Refusal(5, "the robot does not come to rest")
        self.log("drain")
        return self.result("drain", True, None)

    def prune(self, options: argparse.Namespace) -> dict:
        removed = self.state["unneeded"]
        if not options.dry_run and removed:
            self.log("prune")
            self.state["unneeded"] = []
            self.save()
        fields = self.result("prune", bool(removed) and not options.dry_run, None)
        return fields | {"removed": removed, "bytes_freed": sum(each["bytes"] for each in removed)}

    def doctor(self, options: argparse.Namespace) -> dict:
        """One line that is well, and those that `faults.json` names under `doctor`."""
        lines = {"settings": "ok", **self.faults.get("doctor", {})}
        checks = [
            {"check": name, "verdict": verdict, "text": f"{name} is {verdict}", "fix": None}
            for name, verdict in lines.items()
        ]
        worst = max((line["verdict"] for line in checks), key=["ok", "warn", "fail"].index)
        return {"schema": 1, "verdict": worst, "checks": checks}

    def status(self, options: argparse.Namespace) -> dict:
        state = self.state
        self.fault("status", state["running"] or "")
        running = state["running"]
        slot = {"release": running, "pid": 1, "state": "RUN", "verified": "unproven" not in self.faults}
        slot |= {"void_reason": "no_command", "faults": {}, "processor": None}
        problems = self.faults.get("problems", [])
        known = {name: summary(state[name]) for name in ("running", "current", "previous", "fallback")}
        fields = {"schema": 1, "agent": "0.1.0", "name": "fake", "row": "process", "embodiment": "sim-base"}
        fields |= {
            "stage": state["stage"],
            "deployment": None,
            "wait": None,
            "window": None,
            **known,
            "transfer": None,
            "unheard": [],
            "staged": state["staged"],
        }
        fields |= {"slots": {"a": slot if running else None, "b": None}, "healthy": not problems}
        fields |= {"problems": problems, "supervisor": "RUN", "quarantined": state["quarantined"]}
        motion = {"state": "RUN", "armed": True, "held": [], "stopped_by": []}
        if state["held"]:
            motion |= {"state": "SAFE_STOP", "held": [{"owner": "homeport-agent hold", "reason": "held by the fleet"}]}
        stuck = self.faults.get("stuck")
        fields |= {
            "motion": motion,
            "disk": {"folder": "/var/lib/homeport", "free_bytes": 9 << 30, "shortage": None},
            "engine": {"alive": stuck is None, "trouble": stuck},
            "clock": {"stands": "2026-11-30 10:00 UTC", "doubt": None},
            "way_back": {"release": state["previous"], "reason": stuck},
        }
        return fields | {"last": state["last"], "failure": state["failure"], "restore_failure": None, "log": []}


def install(folder: Path) -> Path:
    """Put the fake into `folder` as an executable that starts as fast as this Python can."""
    path = folder / "homeport-agent"
    path.write_text(f"#!{sys.executable} -IS\n" + HERE.read_text().partition("\n")[2])
    path.chmod(0o755)
    return path


def version(release: str | None) -> str | None:
    return f"1.{int(release[7:9], 16)}.0" if release else None


def summary(release: str | None) -> dict | None:
    return {"digest": release, "name": "pilot", "version": version(release), "counter": 1} if release else None


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--json", action="store_true", required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)
    stage = verbs.add_parser("stage")
    stage.add_argument("release")
    stage.add_argument("--source")
    stage.add_argument("--repository")
    stage.add_argument("--dry-run", action="store_true")
    stage.add_argument("--retry", action="store_true")
    stage.add_argument("--channel-record")
    stage.add_argument("--by")
    switch = verbs.add_parser("switch")
    switch.add_argument("release")
    switch.add_argument("--commit", choices=["auto", "wait"], default="auto")
    switch.add_argument("--deadline", type=float, default=300.0)
    switch.add_argument("--probation", type=float)
    switch.add_argument("--gate", choices=["idle", "moving"], default="idle")
    switch.add_argument("--now", action="store_true")
    switch.add_argument("--by")
    commit = verbs.add_parser("commit")
    commit.add_argument("release")
    commit.add_argument("--by")
    rollback = verbs.add_parser("rollback")
    rollback.add_argument("--to", default="previous")
    rollback.add_argument("--gate", choices=["idle", "moving"], default="idle")
    rollback.add_argument("--now", action="store_true")
    rollback.add_argument("--undo", action="store_true")
    rollback.add_argument("--by")
    verbs.add_parser("hold").add_argument("--reason", default="")
    verbs.add_parser("drain").add_argument("--reason", default="")
    verbs.add_parser("prune").add_argument("--dry-run", action="store_true")
    verbs.add_parser("status")
    verbs.add_parser("doctor")
    return parser


def main() -> int:
    options = parser().parse_args()
    robot = FakeRobot(options.root)
    if options.verb != "status":
        robot.later()
    try:
        result = getattr(robot, options.verb)(options)
    except Refusal as refusal:
        answer = {"v": 1, "ok": False, "error": {"code": refusal.code, "message": str(refusal)}}
        if refusal.failure:
            answer["result"] = robot.result(options.verb, True, refusal.failure["release"])
            answer["result"]["failure"] = refusal.failure
        print(json.dumps(answer))
        return refusal.code
    print(json.dumps({"v": 1, "ok": True, "result": result}))
    well = options.verb != "status" or (result["healthy"] and result["way_back"]["reason"] is None)
    return 0 if well else 3


if __name__ == "__main__":
    sys.exit(main())
