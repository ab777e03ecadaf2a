"""The playbooks on four robots: real ansible-playbook, local connections, fake agents that keep a journal each."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry.core.digest import Digest
from model_registry.core.layout import Layout
from model_registry.core.robot import Footprint, Robot
from stack.agent.settings.config import Config
from tests.fakes.agent import install
from tests.fakes.schemas import check

ROOT = Path(__file__).parents[2]
OLD, NEW = f"sha256:{'01' * 32}", f"sha256:{'02' * 32}"
HOSTS = ("h1", "h2", "h3", "h4")
THREE = ("--limit", "h1,h2,h3")
ENVIRONMENT = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT),
    "ANSIBLE_NOCOLOR": "1",
}


@dataclass(frozen=True)
class Run:
    code: int
    text: str
    report: dict

    def recap(self) -> dict[str, int]:
        """How many failures Ansible itself counts for each robot."""
        return {
            name: int(count) for name, count in re.findall(r"^(\S+) +: ok=.* failed=(\d+)", self.text, re.MULTILINE)
        }

    @property
    def failed_hosts(self) -> set[str]:
        return {name for name, host in self.report["hosts"].items() if host["failure"]}


class Fleet:
    """Four robots of one kind below `folder`, all running OLD; h1 is the canary, h2 and h3 the next wave, then h4."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = install(folder)
        for host in HOSTS:
            (folder / host).mkdir()
            running = {name: OLD for name in ("current", "running", "fallback")}
            (folder / host / "agent.json").write_text(json.dumps({**running, "staged": [OLD]}))
        self.variables: dict[str, object] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "homeport_root": f"{folder}/{{{{ inventory_hostname }}}}",
            "homeport_agent": str(self.agent),
            "homeport_row": "process",
            "homeport_site": "lab",
            "homeport_embodiment": "sim-base",
            "homeport_percentages": [60, 100],
            "homeport_timeout_s": 20,
        }
        self.hosts: dict[str, dict[str, object]] = {host: {} for host in HOSTS}

    def play(self, name: str, *arguments: str, **extra: object) -> Run:
        """Run a playbook of the collection, or one at an absolute path."""
        inventory, report = self.folder / "inventory.json", self.folder / "report.json"
        inventory.write_text(json.dumps({"robots": {"hosts": self.hosts, "vars": self.variables}}))
        report.unlink(missing_ok=True)
        extra |= {"homeport_report": str(report)}
        process = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)),
                *(str(ROOT / "ansible/playbooks" / f"{name}.yml"), "-e", json.dumps(extra), *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, **ENVIRONMENT, "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp")},
        )
        text = process.stdout + process.stderr
        assert "DEPRECATION" not in text, text
        return Run(process.returncode, text, json.loads(report.read_text()) if report.exists() else {})

    def deploy(self, *arguments: str, **extra: object) -> Run:
        return self.play("deploy", *arguments, homeport_release=NEW, **extra)

    def records(self) -> list[dict]:
        """The history, oldest first."""
        return [json.loads(path.read_text()) for path in sorted((self.folder / "rollouts").glob("*.json"))]

    def break_at(self, host: str, **faults: object) -> None:
        (self.folder / host / "faults.json").write_text(json.dumps(faults))

    def state(self, host: str) -> dict:
        return json.loads((self.folder / host / "agent.json").read_text())

    def verbs(self, host: str) -> list[str]:
        return [verb for verb, _ in self.state(host).get("journal", [])]

    def times(self, verb: str) -> dict[str, float]:
        journals = {host: dict(self.state(host).get("journal", [])) for host in HOSTS}
        return {host: journal[verb] for host, journal in journals.items() if verb in journal}

    def run(self) -> dict[str, str]:
        return {host: self.state(host)["running"] for host in HOSTS}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_release_goes_out_in_waves_and_a_second_run_changes_nothing(fleet: Fleet) -> None:
    first = fleet.deploy()

    assert first.code == 0, first.text
    assert first.report["waves"] == [["h1"], ["h2", "h3"], ["h4"]]
    assert all(host["ok"] and host["touched"] for host in first.report["hosts"].values())
    assert {fleet.state(host)["current"] for host in HOSTS} == {NEW}
    staged, switched, committed = fleet.times("stage"), fleet.times("switch"), fleet.times("commit")
    assert max(staged.values()) < switched["h1"] < committed["h1"]
    assert committed["h1"] < min(switched["h2"], switched["h3"])
    assert max(switched["h2"], switched["h3"]) < min(committed["h2"], committed["h3"])
    assert max(committed["h2"], committed["h3"]) < switched["h4"]

    [record] = fleet.records()
    check(record, "rollout")
    assert (record["kind"], record["asked"]["release"], record["outcome"]) == ("deploy", NEW, first.report)

    journals = {host: fleet.verbs(host) for host in HOSTS}
    second = fleet.deploy()

    assert second.code == 0 and second.text.count("changed=0") == len(HOSTS), second.text
    assert {host: fleet.verbs(host) for host in HOSTS} == journals
    assert all(host["ok"] and not host["touched"] for host in second.report["hosts"].values())


@pytest.mark.parametrize(("fault", "stage"), [("fail", "PROBATION"), ("silent", "SILENT")])
def test_a_bad_canary_is_restored_and_nobody_else_is_touched(fleet: Fleet, fault: str, stage: str) -> None:
    fleet.break_at("h1", probation=fault)

    run = fleet.deploy(*THREE, homeport_timeout_s=3)

    assert run.code == 2 and "The rollout was halted" in run.text, run.text
    canary = run.report["hosts"]["h1"]
    assert (canary["ok"], canary["stage"], canary["touched"], canary["restored"]) == (False, stage, True, True)
    assert run.report["halted"] and run.failed_hosts == {"h1"}
    assert [name for name, host in run.report["hosts"].items() if host["touched"]] == ["h1"]
    assert [fleet.verbs(host) for host in HOSTS[1:]] == [["stage"], ["stage"], []]
    assert set(fleet.run().values()) == {OLD} and fleet.state("h1")["current"] == OLD


def test_a_canary_out_of_reach_is_a_failed_canary_and_every_playbook_says_so(fleet: Fleet) -> None:
    fleet.hosts["h1"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}

    run = fleet.deploy(*THREE)
    status = fleet.play("status", *THREE)

    assert run.code == 2 and run.failed_hosts == {"h1"}, run.text
    assert run.report["hosts"]["h1"]["stage"] == "UNREACHABLE" and not run.report["hosts"]["h1"]["touched"]
    assert [fleet.verbs(host) for host in HOSTS[1:]] == [["stage"], ["stage"], []]
    assert status.code == 2 and [n for n, h in status.report["hosts"].items() if not h["ok"]] == ["h1"]


def test_a_release_that_fails_its_proof_on_a_canary_switches_nobody(fleet: Fleet) -> None:
    fleet.break_at("h1", stage="fail")

    run = fleet.deploy(*THREE, homeport_max_failed=3)

    assert run.code == 2 and run.report["halted"], run.text
    assert not any(host["touched"] for host in run.report["hosts"].values())
    assert not fleet.times("switch")
    assert run.report["hosts"]["h1"]["failure"]["metric"] == "inference_p99_ms"


def test_a_failure_in_a_later_wave_undoes_the_waves_before_it(fleet: Fleet) -> None:
    fleet.break_at("h3", probation="fail")

    run = fleet.deploy(*THREE)

    assert run.code == 2 and run.failed_hosts == {"h3"}, run.text
    assert set(fleet.run().values()) == {OLD}
    assert fleet.verbs("h1") == ["stage", "switch", "commit", "rollback"]
    assert fleet.verbs("h2") == ["stage", "switch", "rollback"]
    assert [host["restored"] for host in run.report["hosts"].values()] == [True, True, True]
    assert run.recap() == {"h1": 0, "h2": 0, "h3": 1}


def test_a_robot_that_went_back_by_itself_is_told_from_those_that_were_undone_and_the_recap_agrees(
    fleet: Fleet,
) -> None:
    fleet.break_at("h2", later=True)
    fleet.break_at("h3", probation="fail")

    run = fleet.deploy()

    hosts = run.report["hosts"]
    assert {name: host["story"] for name, host in hosts.items()} == {
        "h1": "undone",
        "h2": "went back",
        "h3": "went back",
        "h4": "not its turn",
    }, run.text
    assert run.failed_hosts == {"h2", "h3"} and run.report["refuses"] == ["h2", "h3"]
    assert (
        "went back by itself: probation gate unhealthy: 30 % of its ticks missed; restored; in quarantine" in run.text
    )
    again = f"make deploy INVENTORY={fleet.folder}/inventory.json RELEASE={NEW} RETRY=1"
    assert f"In quarantine on h2, h3, which will refuse it next time. Once the cause is gone: {again}" in run.text
    assert run.recap() == {"h1": 0, "h2": 1, "h3": 1, "h4": 0}
    assert "fatal: [h3]: FAILED!" in run.text.partition("TASK [Judge the wave]")[2].partition("PLAY [Undo")[0]
    assert set(fleet.run().values()) == {OLD} and [fleet.state(host)["previous"] for host in HOSTS] == [None] * 4

    for host in ("h2", "h3"):
        fleet.break_at(host)
    refused, taken = fleet.deploy(*THREE), fleet.deploy(*THREE, homeport_retry=True)

    assert {name: refused.report["hosts"][name]["stage"] for name in ("h2", "h3")} == dict.fromkeys(
        ("h2", "h3"), "REFUSED"
    )
    assert taken.code == 0 and taken.report["refuses"] == [], taken.text


def test_a_second_controller_is_told_who_holds_the_robots(fleet: Fleet) -> None:
    fleet.break_at("h2", stage="locked")

    run = fleet.deploy(*THREE)

    held = run.report["hosts"]["h2"]
    assert (held["stage"], held["story"]) == ("LOCKED", "failed"), run.text
    assert "switch by ann@one (uid 0, pid 7) is running since" in held["failure"]["message"]
    assert fleet.state("h1")["by"].endswith(f"@{socket.gethostname()}")


def test_one_failure_that_the_policy_allows_leaves_the_others_done_and_still_ends_non_zero(fleet: Fleet) -> None:
    fleet.break_at("h3", probation="fail")

    run = fleet.deploy(*THREE, homeport_max_failed=1)

    assert run.code == 2 and not run.report["halted"], run.text
    assert fleet.run() == {"h1": NEW, "h2": NEW, "h3": OLD, "h4": OLD}


def test_a_fleet_is_read_and_rolled_back_from_its_own_disks(fleet: Fleet) -> None:
    for host in HOSTS:
        state = fleet.state(host) | {"current": NEW, "running": NEW, "previous": OLD, "staged": [OLD, NEW]}
        (fleet.folder / host / "agent.json").write_text(json.dumps(state))
    fleet.break_at("h4", problems=["slot a: no process runs"])

    drift = fleet.play("status")
    back = fleet.play("rollback")

    assert drift.code == 2 and "slot a: no process runs" in drift.text
    assert [name for name, host in drift.report["hosts"].items() if not host["ok"]] == ["h4"]
    assert "robot  release" in drift.text
    assert back.code == 0 and set(fleet.run().values()) == {OLD}, back.text
    for record in fleet.records():
        check(record, "rollout")
    assert [record["kind"] for record in fleet.records()] == ["status", "rollback"]
    assert fleet.records()[1]["outcome"] == back.report and fleet.records()[0]["outcome"] == drift.report
    where = back.text.index(f"h1     1.2.0 {NEW[7:19]}  1.1.0 {OLD[7:19]}")
    assert where < back.text.index("TASK [Go back to the release before]"), "it says where before it goes"
    assert [fleet.verbs(host) for host in HOSTS] == [["rollback"]] * 4


def test_a_status_sees_what_keeps_a_robot_from_going_back_and_asks_every_doctor_at_once(fleet: Fleet) -> None:
    fleet.break_at(
        "h2",
        stuck="docker info: no answer within 3 s; its daemon hangs; restart it (systemctl restart containerd docker)",
    )
    fleet.break_at("h3", doctor={"disk": "fail", "clock": "warn"})

    plain, examined = fleet.play("status", *THREE), fleet.play("status", *THREE, homeport_doctor=True)

    assert plain.code == 2 and plain.failed_hosts == {"h2"}, plain.text
    assert "could not be rolled back now: docker info: no answer within 3 s" in plain.text
    assert plain.recap() == {"h1": 0, "h2": 1, "h3": 0}
    assert examined.failed_hosts == {"h2", "h3"}, examined.text
    assert "h3: doctor fail, disk: disk is fail" in examined.text and "h3: doctor warn, clock" in examined.text


def test_check_mode_plans_and_writes_nothing(fleet: Fleet) -> None:
    before = {path: path.read_bytes() for path in fleet.folder.rglob("*.json")}

    run = fleet.deploy("--check", "--diff")

    assert run.code == 0 and "would fetch, verify, build, prove" in run.text, run.text
    assert f"-{OLD}" in run.text and f"+{NEW}" in run.text
    written = {path: path.read_bytes() for path in fleet.folder.rglob("*.json") if path.name != "inventory.json"}
    assert written == before


def test_a_fleet_is_pruned_and_says_how_much(fleet: Fleet) -> None:
    removed = [{"kind": "release", "name": "x", "bytes": 3 << 20}, {"kind": "engine", "name": "y", "bytes": 2 << 20}]
    for host in ("h1", "h2"):
        (fleet.folder / host / "agent.json").write_text(json.dumps(fleet.state(host) | {"unneeded": removed}))
    fleet.break_at("h3", status="garbage")

    planned, done, again = (
        fleet.play("prune", "--check"),
        fleet.play("prune"),
        fleet.play("prune", "--limit", "h1,h2,h4"),
    )

    assert planned.code == 2 and "would free 5 MiB: 1 x release, 1 x engine" in planned.text, planned.text
    assert all("10 MiB on all robots. 3 of 4 robots" in run.text for run in (planned, done))
    assert done.report["hosts"]["h1"]["freed"] == "freed 5 MiB: 1 x release, 1 x engine"
    assert done.report["bytes_freed"] == 10 << 20
    assert done.code == 2 and done.failed_hosts == {"h3"} and done.report["hosts"]["h4"]["ok"]
    assert [fleet.verbs(host) for host in HOSTS] == [["prune"], ["prune"], [], []]
    assert again.code == 0 and again.report["bytes_freed"] == 0 and "changed=0" in again.text, again.text
    assert again.report["hosts"]["h1"]["freed"] == "freed 0 MiB: nothing to remove"


def test_a_fleet_is_drained_and_one_that_does_not_stand_is_named(fleet: Fleet) -> None:
    fleet.break_at("h2", moving=True)

    run = fleet.play("drain", *THREE)

    assert run.code == 2 and run.failed_hosts == {"h2"} and "does not come to rest" in run.text, run.text
    assert [fleet.verbs(host) for host in HOSTS] == [["drain"], [], ["drain"], []]


def test_a_revoked_release_is_refused_on_every_robot_that_a_record_reached(fleet: Fleet) -> None:
    record = fleet.folder / "stable.json"
    record.write_text(json.dumps({"revoked": [NEW]}))

    run = fleet.deploy(*THREE, homeport_channel_record=str(record))

    assert run.code == 2 and "is revoked (channel record pilot:stable 1)" in run.text, run.text
    assert run.report["halted"] and not any(host["touched"] for host in run.report["hosts"].values())
    assert [fleet.state(host).get("revoked", []) for host in HOSTS] == [[NEW]] * 3 + [[]]


@pytest.mark.parametrize(
    ("arguments", "extra", "message"),
    [
        ((), {"homeport_release": "stable"}, "give the digest, not a tag"),
        (("--limit", "h2"), {"homeport_release": ""}, "give the digest, not a tag"),
        ((), {"homeport_release": NEW, "homeport_hosts": "nobody"}, "nobody matches no robot"),
    ],
    ids=["a tag", "no release, limited", "nobody"],
)
def test_a_call_that_cannot_work_is_refused_before_any_robot_is_asked(fleet, arguments, extra, message) -> None:
    run = fleet.play("deploy", *arguments, **extra)

    assert run.code == 2 and message in run.text, run.text
    assert not any(fleet.verbs(host) for host in HOSTS)


def test_bootstrap_prepares_a_bare_robot_that_the_agent_can_read(fleet: Fleet, tmp_path: Path) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    key, lock = tmp_path / "release.pub", tmp_path / "robot.txt"
    key.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    lock.write_text("numpy==2.1.0\n\n")
    fleet.variables |= {
        "homeport_agent": "{{ homeport_root }}/bin/homeport-agent",
        "homeport_agent_file": str(fleet.agent),
        "homeport_public_keys": [str(key)],
        "homeport_source": f"oci:{tmp_path}/registry",
        "homeport_environment": sys.prefix,
        "homeport_lock": str(lock),
        "homeport_limits": {"linear": 0.8},
        "homeport_footprint": {"radius": 0.3},
        "homeport_safety": {"auto_resume_s": 2},
        "homeport_slot_environment": {"SEED": 7},
        "homeport_gate_settings": {"probation_s": 3},
        "homeport_device_path": ["/opt/homeport/site"],
    }

    first = fleet.play("bootstrap", "--limit", "h1")
    second = fleet.play("bootstrap", "--limit", "h1")

    assert first.code == 0, first.text
    assert second.code == 0 and "changed=0" in second.text, second.text
    layout = Layout.at(fleet.folder / "h1")
    robot, config = Robot.load(layout.robot_toml), Config.load(layout.agent_toml)
    assert (robot.name, robot.limits.linear, robot.sources["scan"].present) == ("h1", 0.8, True)
    assert (robot.footprint, robot.safety.auto_resume_s) == (Footprint(0.3, 0.3, 0.3, round=True), 2.0)
    assert (config.environment, config.gate.probation_s, config.device_path) == (
        {"SEED": "7"},
        3.0,
        ("/opt/homeport/site",),
    )
    assert layout.dds_profile.read_bytes() == (ROOT / "images/dds.xml").read_bytes()
    assert config.device_python.exists() and os.access(layout.root / "bin/homeport-agent", os.X_OK)
    assert [path.read_bytes() for path in layout.keys.iterdir()] == [key.read_bytes()]
    (environment,) = (layout.root / "envs").iterdir()
    assert environment == layout.environment(Digest.of_file(lock)) and (environment / "bin/python").exists()


def test_the_role_restores_and_raises_again_so_that_a_play_of_ones_own_stops(fleet: Fleet) -> None:
    play = {"hosts": "robots", "gather_facts": False, "serial": 1, "max_fail_percentage": 0}
    play |= {"roles": [{"role": "homeport.fleet.release", "vars": {"release_digest": NEW}}]}
    (fleet.folder / "own.yml").write_text(json.dumps([play]))
    fleet.break_at("h2", probation="fail")

    run = fleet.play(f"{fleet.folder}/own")

    assert run.code == 2 and "h2: release 020202020202: inference is too slow" in run.text, run.text
    assert fleet.run() == {"h1": NEW, "h2": OLD, "h3": OLD, "h4": OLD}
    assert fleet.verbs("h3") == []
