"""Who may touch the robot, and when: its hook, its windows, the lease on their yes, and `--now`."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stack.agent.change.permission import Permission
from stack.agent.host import Host
from tests.fakes.rig import Answer, Rig

FAR = (datetime.now(timezone.utc) + timedelta(hours=12)).strftime("%H:%M")
CLOSED = f"""[[windows]]
days = ["mon-sun"]
at = "{FAR}"
for = "1h"
tz = "UTC"
"""


def configure(rig: Rig, text: str) -> None:
    """Add to agent.toml and start the agent again."""
    rig.stop_agent()
    rig.layout.agent_toml.write_text(f"{rig.layout.agent_toml.read_text()}\n{text}")
    rig.start_agent()


class Site:
    """The hook of a robot: no for as long as there is a reason, and a note of every question."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.program, self._reason, self._asked = folder / "may-change", folder / "no", folder / "asked"
        self._asked.touch()
        self._asked.chmod(0o666)
        say = f"echo $* >>{self._asked}\nif [ -e {self._reason} ]; then cat {self._reason}; exit 1; fi"
        self.program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{say}\n")
        self.program.chmod(0o755)

    def refuse(self, reason: str | None) -> None:
        self._reason.write_text(reason) if reason else self._reason.unlink()

    @property
    def asked(self) -> list[str]:
        return self._asked.read_text().split()


@pytest.fixture
def site(rig: Rig) -> Iterator[Site]:
    """A robot whose agent has a hook."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        configure(rig, f'[hook]\ncommand = ["{site.program}"]\n')
        yield site


def test_a_hook_that_says_no_keeps_the_old_release_and_gives_its_reason(rig: Rig, site: Site) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    site.refuse("a box is in its gripper")

    answer = rig.deploy(two, "--deadline", "0.3")

    assert answer.code == 5 and "waited long enough: a box is in its gripper" in answer.message
    assert rig.status()["running"]["digest"] == one and rig.processes()["b"] is None
    assert rig.status()["quarantined"] == [] and rig.status()["wait"] is None


def test_the_status_says_what_a_change_waits_for_until_the_hook_agrees(rig: Rig, site: Site) -> None:
    two = rig.publish("1.1.0")
    rig.deploy(rig.publish("1.0.0"))
    site.refuse("not docked")
    answers: list[Answer] = []
    assert rig.run("stage", two).code == 0
    client = threading.Thread(target=lambda: answers.append(rig.call("switch", two, "--deadline", "60")))
    client.start()

    rig.until(lambda: (rig.status()["wait"] or {}).get("for") == ["not docked"], "the status names the reason")
    site.refuse(None)
    client.join(60)

    assert answers and answers[0].code == 0
    assert site.asked[:2] == ["idle", "idle"]


def test_a_yes_that_is_taken_back_while_the_candidate_warms_up_counts(rig: Rig, site: Site) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0", {"ready_after_s": 2.0})
    rig.deploy(one)
    selects = rig.supervisor.verbs().count("select")
    assert rig.run("stage", two).code == 0
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(rig.call("switch", two, "--deadline", "0.3")))
    client.start()

    rig.until(lambda: rig.processes()["b"] is not None, "the candidate warms up")
    site.refuse("it has taken up a job")
    client.join(60)

    assert answers and answers[0].code == 5 and "it has taken up a job" in answers[0].message
    assert rig.supervisor.verbs().count("select") == selects
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == one
    assert rig.status()["quarantined"] == []


def test_a_permission_expires(rig: Rig) -> None:
    rig.stop_agent()
    permission = Permission(Host.open(rig.layout), "switch", "idle", False)
    permission.wait(time.monotonic() + 10.0)
    permission.check()
    assert 50.0 < permission.left_s <= 60.0


def test_a_permission_of_no_time_is_none(rig: Rig) -> None:
    text = rig.layout.agent_toml.read_text().replace("[gate]", "[permission]\nlease_s = 0.0\n[gate]")
    rig.layout.agent_toml.write_text(text)
    configure(rig, "")

    answer = rig.deploy(rig.publish("1.0.0"))

    assert answer.code == 5 and "has expired meanwhile" in answer.message
    assert "select" not in rig.supervisor.verbs()


def test_the_hook_is_told_that_the_robot_moves(rig: Rig, site: Site) -> None:
    rig.deploy(rig.publish("1.0.0"))
    rig.supervisor.linear = 0.4

    assert rig.deploy(rig.publish("1.1.0"), "--gate", "moving").code == 0

    assert site.asked[-1] == "moving"


def test_a_rollback_asks_the_hook_before_anything_stops_and_now_goes_on_without_it(rig: Rig, site: Site) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    site.refuse("a box is in its gripper")
    assert rig.run("rollback").code == 0, "the hot way back asks nobody"
    site.refuse(None)
    assert rig.run("switch", two).code == 0
    site.refuse("a box is in its gripper")
    pids, asked = rig.processes(), len(site.asked)

    answer = rig.run("rollback", "--now")

    assert answer.code == 0 and rig.status()["running"]["digest"] == one
    assert "hold" in rig.supervisor.verbs() and rig.supervisor.holders == {}
    assert len(site.asked) == asked and rig.processes() != pids


def test_outside_of_its_windows_a_robot_is_not_switched_and_says_why(rig: Rig) -> None:
    configure(rig, CLOSED)
    one = rig.publish("1.0.0")

    answer = rig.deploy(one, "--deadline", "0.3")

    window = rig.status()["window"]
    assert answer.code == 5 and window["reason"] in answer.message and not window["open"]
    assert rig.run("stage", rig.publish("1.1.0"), "--dry-run").result["plan"]["window"] == window
    assert rig.processes()["a"] is None and "select" not in rig.supervisor.verbs()


def test_now_goes_without_window_and_hook_and_commands_zero_first(rig: Rig, site: Site) -> None:
    configure(rig, CLOSED)
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    site.refuse("not docked")
    assert rig.deploy(one, "--now").code == 0
    rig.supervisor.requests.clear()
    rig.supervisor.linear = 0.4

    answer = rig.deploy(two, "--now")

    assert answer.code == 0, answer.document
    assert rig.supervisor.verbs()[:3] == ["hold", "select", "unhold"] and rig.supervisor.holders == {}
    assert site.asked == [] and rig.status()["running"]["digest"] == two


def test_now_does_not_go_over_a_latched_estop(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    rig.supervisor.latched = ["estop"]

    answer = rig.deploy(rig.publish("1.1.0"), "--now")

    assert answer.code == 5 and "e-stop" in answer.message and rig.processes()["b"] is None


def test_drain_holds_and_ends_when_the_robot_stands(rig: Rig) -> None:
    rig.supervisor.linear = 0.4

    answer = rig.run("drain", "--reason", "battery change")

    assert answer.code == 0 and answer.result["changed"]
    assert list(rig.supervisor.holders.values()) == ["battery change"] and rig.supervisor.linear == 0.0
    assert rig.run("unhold").result["changed"] and rig.supervisor.holders == {}
