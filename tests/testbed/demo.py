"""The story that `make demo` tells: three simulated robots, three releases, one way back.

Prints what happens in plain sentences.

`tests.testbed.hosting` is the program around it. The story ends with a table, `report.json` and `report.html`.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.testbed import report, ticks
from tests.testbed.console import busy
from tests.testbed.fleet import Fleet, Robot
from tests.testbed.registry import Published, build_agent, publish

NAMES = ("alder", "birch", "cedar")
COMMAND = "go to the red pillar"
ARENA_M = (8.0, 8.0)
PROBATION_S = 4
TOP_SPEED = 0.6
DRIVING_MPS = 0.2
TRIES = 4
"""How often a rollout is tried that ends in what a busy machine explains."""
GATES = {"PROVE": "prove", "WAIT": "shadow", "SWITCH": "shadow", "PROBATION": "probation"}


class BusyError(Exception):
    """Robots were late for their own control loops each time that a rollout was tried; the message says how."""


class Story:
    """Prints sentences with the seconds since the start, and remembers how long each step took."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.steps: list[dict[str, Any]] = []
        self._since = self.start

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.start:6.1f} s  {text}", flush=True)

    def done(self, text: str) -> None:
        """Close a step under the name `text`."""
        now = time.monotonic()
        self.steps.append({"text": text, "seconds": round(now - self._since, 1)})
        self._since = now

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.start, 1)


class Demo:
    """The story, one method a chapter; `run()` tells it."""

    def __init__(self, out: Path, scratch: Path) -> None:
        self.out = out
        self.story = Story()
        self.scratch = scratch
        self.fleet = Fleet(scratch / "fleet", NAMES)
        self.cuts: dict[str, ticks.Cutover] = {}
        self.latencies: list[dict[str, Any]] = []
        self.published: Published

    def run(self) -> None:
        """Tell all of it. The fleet is left running; who called switches it off."""
        self.publish()
        self.prepare()
        self.first_release()
        self.better_release()
        bad = self.bad_release()
        back = self.roll_back()
        self.report(bad, back)

    def playbook(self, name: str, **variables: object) -> dict[str, Any]:
        """Run a playbook and return its report. Raises AssertionError, in one sentence, when it failed."""
        path = self.scratch / f"{name}-report.json"
        path.unlink(missing_ok=True)
        done = self.fleet.playbook(name, homeport_report=str(path), **variables)
        if done.returncode:
            summary = self.last_report(name).get("summary") or last_message(done.stdout) or done.stderr[-500:]
            raise AssertionError(f"{name}.yml ended with {done.returncode}: {summary}")
        return self.last_report(name)

    def deploy(self, version: str) -> None:
        """Roll a release out, and again where three robots on one machine were too busy for it.

        Raises AssertionError where it fails for another reason, and BusyError.
        """
        settings: dict[str, object] = {"homeport_release": self.published.releases[version]}
        for _ in range(TRIES):
            try:
                self.playbook("deploy", **settings)
            except AssertionError:
                if (why := busy(self.last_report("deploy"))) is None:
                    raise
                self.story.say(f"  Once more, this machine was too busy for three robots: {why}")
                settings["homeport_retry"] = True
                continue
            return
        raise BusyError(f"{version} was rolled out {TRIES} times, the last time: {why}")

    def last_report(self, name: str) -> dict[str, Any]:
        """What a playbook reported, also when it failed."""
        path = self.scratch / f"{name}-report.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def publish(self) -> None:
        self.story.say("Packing the reference policies and signing three releases into an OCI layout directory.")
        self.published = publish(self.scratch, self.scratch / "keys")
        for version, digest in self.published.releases.items():
            self.story.say(f"  release {version} is {digest[:19]}…")
        self.story.done("pack, sign and publish three releases")

    def prepare(self) -> None:
        self.story.say("Preparing three robots with the role `device`, then switching them on.")
        self.fleet.write_inventory(
            self.published,
            build_agent(self.scratch / "homeport-agent"),
            homeport_gate="moving",
            homeport_probation_s=PROBATION_S,
            homeport_controller_keys=str(self.published.keys),
        )
        self.playbook("bootstrap")
        self.fleet.power_on()
        self.story.done("prepare and power on three robots")

    def first_release(self) -> None:
        self.story.say("Deploying 1.0.0. Nothing moves yet: no supervisor is armed.")
        self.deploy("1.0.0")
        self.story.done("deploy 1.0.0")
        for robot in self.fleet.robots:
            robot.say(COMMAND)
            robot.arm()
        self.story.say(f"Armed all three and told them: “{COMMAND}”.")
        self.wait_driving()
        self.note_latencies("1.0.0")
        self.story.done("arm, and drive")

    def wait_driving(self) -> None:
        for robot in self.fleet.robots:
            robot.wait_driving(DRIVING_MPS)
            self.story.say(f"  {robot.name} drives at {robot.speed():.2f} m/s.")

    def keep_driving(self) -> None:
        """See that all robots drive; one that this busy machine has stopped is armed again.

        Standing shows little of a policy.
        """
        for robot in self.fleet.robots:
            robot.wait_driving(DRIVING_MPS)

    def better_release(self) -> None:
        self.keep_driving()
        self.story.say("Deploying 1.1.0 while they drive: canary first, then the others.")
        self.deploy("1.1.0")
        self.note_latencies("1.1.0")
        for robot in self.fleet.robots:
            cut = self.cuts[robot.name] = self.cutover(robot)
            self.story.say(
                f"  {robot.name} changed policy while {report.motion(cut)}: {cut.missed_ticks} missed ticks, gap "
                f"{cut.max_gap_ms} ms."
            )
        self.story.done("deploy 1.1.0 and cut over")

    def bad_release(self) -> dict[str, Any]:
        self.keep_driving()
        self.story.say(
            "Deploying 1.2.0, whose normalisation statistics are in degrees. Its own goldens do not show it."
        )
        digest = self.published.releases["1.2.0"]
        try:
            self.deploy("1.2.0")
        except AssertionError:
            found = self.bad_outcome(digest)
        else:
            raise AssertionError("the bad release was deployed and nobody noticed")
        self.story.say(
            f"  Caught by {found['caught_by']} on {found['hosts_touched']} of {len(NAMES)} robots: {found['message']}"
        )
        canary = "drives 1.1.0 again" if found["drove"] else "was driven by 1.1.0 all the time"
        self.story.say(f"  The rollout stopped; the canary {canary} and the others never changed.")
        self.story.done("try 1.2.0, and have it caught")
        return found

    def bad_outcome(self, digest: str) -> dict[str, Any]:
        """On which robots the release ran at all, and by what it was caught, from their own journals."""
        touched, drove, failure = [], False, None
        for robot in self.fleet.robots:
            records = [r for r in robot.journal() if r["release"] == digest]
            if any(r["stage"] == "WAIT" for r in records):
                touched.append(robot.name)
            drove = drove or any(r["stage"] == "SWITCH" for r in records)
            for record in records:
                failure = record["detail"].get("failure") or failure
        if failure is None:
            raise AssertionError("no journal says what caught the bad release")
        return {
            "version": "1.2.0", "hosts_touched": len(touched), "hosts": touched, "drove": drove,
            "caught_by": f"{GATES[failure['stage']]} gate: {failure['metric']}", "value": failure["value"],
            "threshold": failure["threshold"], "message": failure["message"],
        }  # fmt: skip

    def roll_back(self) -> dict[str, Any]:
        self.story.say("Moving the registry directory away and rolling the whole fleet back.")
        away = self.published.folder.with_name("registry-away")
        self.published.folder.rename(away)
        before = time.monotonic()
        outcome = self.playbook("rollback")
        seconds = round(time.monotonic() - before, 1)
        away.rename(self.published.folder)
        fetched = sum(host["bytes_fetched"] for host in outcome["hosts"].values())
        self.story.say(f"  All robots drive 1.0.0 again after {seconds} s; {fetched} bytes were fetched.")
        self.story.done("roll the fleet back")
        return {"seconds": seconds, "bytes_fetched": fetched}

    def note_latencies(self, version: str) -> None:
        for robot in self.fleet.robots:
            slot = robot.layout.current.readlink().name
            status = json.loads(robot.layout.slot_status(slot).read_text())
            self.latencies.append({
                "robot": robot.name, "release": version, "p50": round(status["inference_p50_ms"], 2),
                "p99": round(status["inference_p99_ms"], 2), "memory": round(status["memory_bytes"] / 1e6),
            })  # fmt: skip

    def cutover(self, robot: Robot) -> ticks.Cutover:
        """The change to 1.1.0 as the listener beside this robot saw it; the last one, where it took more than one."""
        wanted = self.published.releases["1.1.0"]
        switches = [r for r in robot.journal() if (r["stage"], r["phase"], r["release"]) == ("SWITCH", "done", wanted)]
        return ticks.cutover(robot.records(), switches[-1]["detail"]["monotonic_ns"] / 1e9)

    def report(self, bad: dict[str, Any], back: dict[str, Any]) -> None:
        status = self.playbook("status", homeport_release=self.published.releases["1.0.0"])
        result = {
            "robots": [
                {"name": name, "release": host["running"]["version"], "healthy": host["ok"]}
                for name, host in sorted(status["hosts"].items())
            ],
            "cutover": {
                "missed_ticks": sum(cut.missed_ticks for cut in self.cuts.values()),
                "max_gap_ms": max(cut.max_gap_ms for cut in self.cuts.values()),
            },
            "bad_release": {"hosts_touched": bad["hosts_touched"], "caught_by": bad["caught_by"]},
            "rollback": back,
        }
        self.story.done("read the status and write the report")
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "report.json").write_text(json.dumps(result, indent=2) + "\n")
        self.draw(result, bad)
        self.table(result)

    def draw(self, result: dict[str, Any], bad: dict[str, Any]) -> None:
        digests = self.published.releases
        colours = {digest[7:19]: colour for digest, colour in zip(digests.values(), report.COLOURS, strict=False)}
        robots = []
        for row in result["robots"]:
            robot, cut = self.fleet[row["name"]], self.cuts[row["name"]]
            trace = ticks.read(robot.trace)
            robots.append({
                **row, "cutover": cut, "motion": report.motion(cut), "metres": report.metres(trace),
                "map": report.drawn_map(trace, report.changes(robot.records(), colours), ARENA_M),
                "timeline": report.drawn_timeline(cut, colours, TOP_SPEED),
            })  # fmt: skip
        report.write(
            self.out / "report.html", robots=robots, bad=bad, rollback=result["rollback"], command=COMMAND,
            latencies=self.latencies, steps=self.story.steps, seconds=self.story.seconds, top_speed=TOP_SPEED,
            late=report.late(result["cutover"]["missed_ticks"]),
            releases=[
                {"version": v, "colour": colours[d[7:19]]}
                for v, d in digests.items()
                if v != bad["version"] or bad["drove"]
            ],
        )  # fmt: skip

    def table(self, result: dict[str, Any]) -> None:
        print(
            f"\n{'robot':<8} {'release':<8} {'healthy':<8} {'missed ticks':<13} {'largest gap':<12} "
            f"{'at the cutover':<14}"
        )
        for row in result["robots"]:
            cut = self.cuts[row["name"]]
            print(
                f"{row['name']:<8} {row['release']:<8} {'yes' if row['healthy'] else 'no':<8} "
                f"{cut.missed_ticks:<13} {cut.max_gap_ms:<5.1f} ms     {report.motion(cut)}"
            )
        late = report.late(result["cutover"]["missed_ticks"])
        if late:
            print(late)


def last_message(printed: str) -> str:
    """What Ansible printed as the message of its last failed task, in one line; empty when there is none."""
    found = re.findall(r"^fatal: .*?\bmsg: (.*?)(?:\n\n|\Z)", printed, re.DOTALL | re.MULTILINE)
    return " ".join(found[-1].split()) if found else ""
