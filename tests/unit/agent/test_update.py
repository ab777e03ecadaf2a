"""homeport-agent-update: a new agent on trial, killed at every step, and beside a real agent.

The old one comes back by a rename.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import TOP
from tests.fakes.stepped import Stepped

UPDATE = TOP / "stack/agent/shell/update.sh"
STEPS = ("cp", "mv", "rm", "sync", "cmp", "flock", "systemctl", "journalctl")
FREE = """'{"result": {"deployment": null}}'"""
GOOD = f"case $* in *status) echo {FREE}; exit 3 ;; esac"
SYSTEMCTL = """#!/bin/sh
case $* in
    *restart*) echo $(($(cat {pid}) + 1)) >{pid}; cp {agent} {running} ;;
    show*) cat {pid} ;;
esac
"""


def installed(folder: Path) -> Path:
    """update.sh as a robot has it: it locks its own file, and tests run beside each other."""
    path = folder / "update.sh"
    if not path.exists():
        shutil.copy(UPDATE, path)
    return path


@dataclass(frozen=True)
class Device:
    """An agent that is a few lines of sh, and systemd as one: a restart gives the agent another pid."""

    agent: Path
    stepped: Stepped

    def update(self, *options: str, before: int = 0, after: int = 0) -> subprocess.CompletedProcess[str]:
        arguments = ("--agent", str(self.agent), "--wait", "0", *options)
        return self.stepped.run(installed(self.agent.parent), *arguments, before=before, after=after)

    def put(self, name: str, body: str) -> None:
        path = self.agent.with_name(f"homeport-agent{name}")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def text(self, name: str = "") -> str | None:
        path = self.agent.with_name(f"homeport-agent{name}")
        return path.read_text() if path.exists() else None

    @property
    def restarts(self) -> int:
        return sum(" restart " in call for call in self.stepped.calls())

    def leftovers(self) -> set[str]:
        return {path.name for path in self.agent.parent.glob("homeport-agent.*")} - {
            "homeport-agent.candidate",
            "homeport-agent.once",
        }


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Its agent is well; `.candidate` is another one that is well."""
    agent, pid = tmp_path / "bin/homeport-agent", tmp_path / "pid"
    agent.parent.mkdir()
    pid.write_text("100\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (
        ("systemctl", SYSTEMCTL.format(pid=pid, agent=agent, running=tmp_path / "running")),
        ("journalctl", "#!/bin/sh\necho ValueError: what it said last\n"),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    device = Device(agent, Stepped.install(tmp_path / "steps", STEPS))
    device.put("", f"{GOOD} # old")
    device.put(".candidate", f"{GOOD} # new")
    return device


def test_a_candidate_that_answers_becomes_the_agent_and_the_kept_copy(device: Device) -> None:
    done = device.update()

    assert (done.returncode, done.stdout, done.stderr) == (0, "the candidate became the agent\n", "")
    assert device.text() == device.text(".candidate") == device.text(".good")
    assert device.restarts == 1 and device.leftovers() == {"homeport-agent.good"}


def test_when_it_says_so_no_power_cut_brings_the_one_before_back(device: Device) -> None:
    assert device.update().returncode == 0

    calls = device.stepped.calls()
    assert calls[calls.index(f"rm {device.agent}.previous") + 1] == f"sync {device.agent.parent}"


def test_the_same_candidate_again_changes_nothing(device: Device) -> None:
    device.update()

    done = device.update()

    assert done.returncode == 0 and "already" in done.stdout and device.restarts == 0


@pytest.mark.parametrize(
    "body",
    [
        "case $* in *status) exit 1 ;; esac",
        "case $* in *status) kill -9 $$ ;; esac",
        f"case $* in *status) echo {FREE}; [ ! -e $0.once ]; code=$?; touch $0.once; exit $code ;; esac",
    ],
    ids=["says-no", "dies", "answers-for-a-while"],
)
def test_a_candidate_that_does_not_prove_itself_goes_and_the_old_agent_answers(device: Device, body: str) -> None:
    old = device.text()
    device.put(".candidate", body)

    done = device.update()

    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "ValueError: what it said last" in done.stderr and "is back and answers" in done.stderr
    assert device.text() == old and device.restarts == 2
    assert device.text(".previous") is None and device.text(".good") is None


def test_a_restart_that_did_not_happen_proves_nothing(device: Device) -> None:
    old = device.text()
    systemctl = device.stepped.folder.with_name("programs") / "systemctl"
    systemctl.write_text(systemctl.read_text().replace("*restart*)", "*nothing*)"))

    done = device.update()

    assert done.returncode == 1 and "does not answer either" in done.stderr and device.text() == old


def test_a_candidate_that_does_not_accept_what_the_agent_accepts_is_not_started(device: Device) -> None:
    old = device.text()
    device.put(".candidate", "case $* in doctor*) exit 3 ;; esac")

    done = device.update()

    assert done.returncode == 1 and "does not accept this robot's settings" in done.stderr
    assert device.text() == old and device.restarts == 0


def test_settings_that_the_old_agent_does_not_accept_either_do_not_keep_its_mend_away(device: Device) -> None:
    for name, mark in (("", "old"), (".candidate", "new")):
        device.put(name, f"case $* in doctor*) exit 3 ;; esac; {GOOD} # {mark}")

    assert device.update().returncode == 0 and device.text() == device.text(".candidate")


def test_while_a_release_is_changed_the_agent_stays(device: Device) -> None:
    device.put("", """echo '{"result": {"deployment": "aa-1"}}'""")
    old = device.text()

    done = device.update()

    assert done.returncode == 6 and "a release is being changed" in done.stderr
    assert device.text() == old and device.restarts == 0 and device.leftovers() == set()


def test_an_agent_that_does_not_answer_can_be_replaced(device: Device) -> None:
    device.put("", "exit 1")

    assert device.update().returncode == 0 and device.text() == device.text(".candidate")


def test_the_first_agent_is_not_tried(device: Device) -> None:
    device.agent.unlink()

    done = device.update()

    assert done.returncode == 0 and device.text() == device.text(".candidate") and device.restarts == 0


@pytest.mark.parametrize("arguments", [["--now"], ["--agent"], ["--wait", "soon"], ["--wait"]])
def test_a_wrong_call_is_a_usage_error(arguments: list[str]) -> None:
    done = subprocess.run([UPDATE, *arguments], capture_output=True, text=True, timeout=60)

    assert done.returncode == 2 and done.stderr.startswith("error: ")


@pytest.mark.parametrize("fate", ["good", "bad"])
def test_killed_at_any_step_the_next_boot_has_a_whole_agent_and_never_one_that_failed(
    device: Device, fate: str
) -> None:
    if fate == "bad":
        device.put(".candidate", "case $* in *status) exit 1 ;; esac # new")
    old, new = device.text(), device.text(".candidate")
    device.update()
    count, seen = len(device.stepped.calls()), set()
    assert count > 15
    for number in range(1, count + 1):
        for when in ("before", "after"):
            for name in device.leftovers():
                device.agent.with_name(name).unlink()
            device.put("", f"{GOOD} # old")

            killed = device.update(**{when: number})

            assert killed.returncode in (-9, 0, 1)
            assert device.text() in (old, new), f"killed {when} {device.stepped.calls()[-1]}"
            assert device.update("--settle").returncode == 0
            seen.add(device.text())
            assert device.text(".previous") is None
    assert seen == ({old, new} if fate == "good" else {old})


@pytest.fixture
def docker_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRig]:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with DockerRig(tmp_path) as rig:
        yield rig


def install(rig: DockerRig, name: str, serve: str) -> Path:
    """A program that is the agent of this checkout, but for what it does to serve."""
    path = rig.root / "bin" / f"homeport-agent{name}"
    path.parent.mkdir(exist_ok=True)
    call = f'cd {TOP} && exec {sys.executable} -m stack.agent --root {rig.root} "$@"'
    path.write_text(f"#!/bin/sh\n[ $1 != serve ] || {serve}\n{call}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("serve", "code"), [("sleep 0", 0), ("exec sleep 60", 1)])
def test_a_real_agent_is_replaced_or_comes_back_while_its_release_drives_on(
    docker_rig: DockerRig, serve: str, code: int
) -> None:
    rig = docker_rig
    rig.deploy(rig.publish("1.0.0"))
    policy = rig.processes()["a"]
    agent = install(rig, "", ":")
    install(rig, ".candidate", serve)
    rig.stop_agent()
    (rig.bin / "agent.json").write_text(f'["{agent}"]')
    try:
        subprocess.run([rig.bin / "systemctl", "start", "homeport-agent.service"], check=True)
        rig.until(lambda: rig.run("status").code == 0, "the agent serves")

        argv = [installed(Path(agent).parent), "--agent", agent, "--wait", "6"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)

        assert done.returncode == code, done.stderr
        assert rig.run("status").code == 0 and rig.processes()["a"] == policy
        assert agent.read_text().count(serve) == (code == 0)
    finally:
        subprocess.run([rig.bin / "systemctl", "kill", "homeport-agent.service"], check=False)
