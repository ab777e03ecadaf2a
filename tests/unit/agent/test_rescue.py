"""homeport-rescue on folders that no agent made, killed at every step, and beside real agents that are well, dead and
hung.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes import docker
from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import TOP, Rig
from tests.fakes.stepped import Stepped

RESCUE = TOP / "stack/agent/shell/rescue.sh"
ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
PARTS = ("release.json", "release.dsse.json", "model/vla.json", "engine/ready", "prove.json")
STEPS = ("rm", "ln", "mv", "sync", "mkdir", "readlink")


def add_release(root: Path, hex_: str) -> None:
    for part in PARTS:
        path = root / "releases" / hex_ / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (root / "releases" / hex_ / "site").mkdir()


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A robot in slot b on TWO, with ONE as previous and THREE, which is in no slot, as fallback."""
    root = tmp_path / "robot"
    for hex_ in (ONE, TWO, THREE):
        add_release(root, hex_)
    for path, target in {
        "slots/a": f"../releases/{ONE}",
        "slots/b": f"../releases/{TWO}",
        "current": "slots/b",
        "previous": f"releases/{ONE}",
        "fallback": f"releases/{THREE}",
    }.items():
        link(root / path, target)
    return root


@pytest.fixture
def stepped(tmp_path: Path) -> Stepped:
    return Stepped.install(tmp_path / "steps", STEPS)


def rescue(stepped: Stepped, root: Path, *arguments: str, **at: int) -> subprocess.CompletedProcess[str]:
    """Run it to the end, or to the step at which it is killed; it looks twice whether something runs."""
    return stepped.run(RESCUE, "--root", root, "--wait", "1", *arguments, **at)


def current(root: Path) -> str:
    """The release that runs after the next start: always a whole one."""
    folder = (root / "current").resolve(strict=True)
    assert all((folder / part).exists() for part in PARTS)
    return folder.name


def links(root: Path) -> dict[str, str]:
    return {name: str((root / name).readlink()) for name in ("current", "previous", "fallback", "slots/a", "slots/b")}


@pytest.mark.parametrize(("name", "hex_"), [("previous", ONE), ("fallback", THREE)])
def test_current_becomes_what_was_asked_for_and_nothing_else_moves(
    root: Path, stepped: Stepped, name: str, hex_: str
) -> None:
    before = links(root)

    done = rescue(stepped, root, name)

    assert links(root) == before | {"current": "slots/a", "slots/a": f"../releases/{hex_}"}
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert f"{name} ({hex_[:12]}) is current, in slot a, and does not run yet" in done.stderr
    assert f"--root {root} serve" in done.stderr


def test_the_same_call_again_changes_nothing(root: Path, stepped: Stepped) -> None:
    rescue(stepped, root, "fallback")
    after = links(root)

    rescue(stepped, root, "fallback")

    assert links(root) == after
    assert not [call for call in stepped.calls() if call.startswith(("ln", "mv"))]


def test_killed_at_any_step_it_leaves_the_old_release_or_the_new_one(root: Path, stepped: Stepped) -> None:
    rescue(stepped, root, "fallback")
    count = next(number for number, call in enumerate(stepped.calls()) if call.startswith("sleep"))
    pristine, seen = root.with_name("pristine"), set()
    link(root / "slots/a", f"../releases/{ONE}")
    link(root / "current", "slots/b")
    shutil.copytree(root, pristine, symlinks=True)
    assert count > 8
    for number in range(1, count + 1):
        for when in ("before", "after"):
            shutil.rmtree(root)
            shutil.copytree(pristine, root, symlinks=True)

            killed = rescue(stepped, root, "fallback", **{when: number})

            assert killed.returncode == -9, f"{when} step {number} was not reached"
            assert current(root) in (TWO, THREE), f"killed {when} {stepped.calls()[-1]}"
            seen.add(current(root))
            rescue(stepped, root, "fallback")
            assert current(root) == THREE
            assert not list(root.glob("**/*.rescue"))
    assert seen == {TWO, THREE}


def test_the_slot_is_on_disk_before_current_leads_to_it(root: Path, stepped: Stepped) -> None:
    rescue(stepped, root, "fallback")

    durable = [call.replace(str(root), "") for call in stepped.calls() if call.startswith(("mv", "sync"))]

    assert durable == ["mv -T /slots/a.rescue /slots/a", "sync /slots", "mv -T /current.rescue /current", "sync "]


@pytest.mark.parametrize("broken", ["slots/c", "nowhere", "releases/x", ""])
def test_a_damaged_current_is_mended(root: Path, stepped: Stepped, broken: str) -> None:
    (root / "current").unlink()
    if broken:
        link(root / "current", broken)

    rescue(stepped, root)

    assert current(root) == ONE


@pytest.mark.parametrize("part", [*PARTS, "site"])
def test_a_release_that_is_not_complete_is_refused_before_anything_changes(
    root: Path, stepped: Stepped, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "DOCKER_HOST", "unix:///nowhere/docker.sock"
    )  # a robot without Docker, whatever this machine has
    path = root / "releases" / ONE / part
    path.rmdir() if part == "site" else path.unlink()
    before = links(root)

    done = rescue(stepped, root, "previous")

    assert done.returncode == 5 and part in done.stderr and done.stderr.count("\n") == 1
    assert links(root) == before


@pytest.mark.parametrize("target", [None, "slots/a", "releases/..", f"releases/{'z' * 64}", f"../{ONE}"])
def test_a_link_that_leads_to_no_release_is_refused(root: Path, stepped: Stepped, target: str | None) -> None:
    (root / "previous").unlink()
    if target:
        link(root / "previous", target)

    done = rescue(stepped, root)

    assert done.returncode == 5 and "try the other one" in done.stderr
    assert (root / "current").readlink() == Path("slots/b")


@pytest.mark.parametrize(
    "arguments", [["current"], ["--root"], ["--root", "/nowhere/at/all"], ["--wait", "soon"], ["--wait"], ["--help"]]
)
def test_a_wrong_call_is_a_usage_error(stepped: Stepped, arguments: list[str]) -> None:
    done = stepped.run(RESCUE, *arguments)

    assert done.returncode == 2 and "usage: homeport-rescue" in done.stderr


def test_a_full_disk_leaves_what_there_was(root: Path, stepped: Stepped) -> None:
    (stepped.folder / "mv").write_text("#!/bin/sh\nexit 1\n")
    before = links(root)

    done = rescue(stepped, root)

    assert done.returncode == 1 and "keeps what it had" in done.stderr
    assert links(root) == before


def test_beside_an_agent_that_is_well_the_earlier_release_drives_again(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)

    done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"previous ({one[7:19]}) is current, in slot a, and runs")
    rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
    assert rig.status()["running"]["digest"] == one


@pytest.mark.parametrize("state", ["dead", "hung"])
def test_without_an_agent_the_bad_release_ends_and_the_next_agent_starts_the_good_one(
    rig: Rig, stepped: Stepped, state: str
) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    bad = rig.processes()["b"]
    if state == "dead":
        rig.stop_agent(kill=True)
    elif rig.agent is not None:
        os.kill(rig.agent.pid, signal.SIGSTOP)

    done = rescue(stepped, rig.root)

    assert done.returncode == 1 and "start it" in done.stderr
    rig.until(lambda: not Path(f"/proc/{bad}").exists(), "the bad release has ended")
    rig.stop_agent(kill=True)
    rig.start_agent()
    rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
    assert rig.status()["running"]["digest"] == one


def test_a_trial_that_is_under_way_ends_with_the_committed_release(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")

    done = subprocess.run([RESCUE, "--root", rig.root, "fallback"], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    rig.until(lambda: rig.status()["stage"] == "IDLE" and rig.run("status").code == 0, "the trial has ended")
    assert rig.status()["running"]["digest"] == one


def units(rig: DockerRig, since: int) -> list[list[str]]:
    """What systemd was asked after that many calls of any program."""
    return [call[1:] for call in docker.calls(rig.bin)[since:] if call[0] == "systemctl"]


def hand_to_systemd(rig: DockerRig) -> None:
    """From now on the stand-in for systemd owns the agent, as its unit does on a robot."""
    assert rig.agent is not None
    (rig.bin / "unit-homeport-agent").write_text(str(rig.agent.pid))


def stop_unit(rig: DockerRig) -> None:
    subprocess.run([rig.bin / "systemctl", "kill", "homeport-agent.service"], check=False)


def test_containers_are_restarted_with_their_agent(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    hand_to_systemd(rig)
    try:
        done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

        assert done.returncode == 0, done.stderr
        rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
        assert rig.status()["running"]["digest"] == one and rig.processes()["b"] is None
    finally:
        stop_unit(rig)


def test_with_a_broken_agent_containers_and_supervisor_are_started_by_the_script(docker_rig: DockerRig) -> None:
    rig = docker_rig
    rig.deploy(rig.publish("1.0.0"))
    rig.deploy(rig.publish("1.1.0"))
    hand_to_systemd(rig)
    rig.layout.serving.unlink()
    rig.layout.serving.mkdir()  # no agent starts on this; a slot does
    since = len(docker.calls(rig.bin))
    try:
        done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=90)

        assert done.returncode == 0, done.stderr
        asked = [" ".join(words) for words in units(rig, since)]
        assert asked[-2:] == ["start homeport-slot@a.service", "restart homeport-supervisor.service"]
    finally:
        stop_unit(rig)


def test_a_kept_copy_replaces_an_agent_that_does_not_start(docker_rig: DockerRig) -> None:
    rig = docker_rig
    rig.deploy(rig.publish("1.0.0"))
    rig.deploy(rig.publish("1.1.0"))
    agent = rig.root / "bin/homeport-agent"
    agent.parent.mkdir()
    agent.write_text("#!/bin/sh\nexit 1\n")
    good = agent.with_name("homeport-agent.good")
    works = shlex.join(json.loads((rig.bin / "agent.json").read_text()))
    good.write_text(f'#!/bin/sh\nexec {works} "$@"\n')
    for path in (agent, good):
        path.chmod(0o755)
    (rig.bin / "agent.json").write_text(json.dumps([str(agent), "--root", str(rig.root)]))
    hand_to_systemd(rig)
    try:
        done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=90)

        assert done.returncode == 0, done.stderr
        assert agent.read_bytes() == good.read_bytes()
        rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
    finally:
        stop_unit(rig)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (None, "not in Docker's store"),
        ("exit 1", "systemctl restart containerd docker"),
        ("exec tail -f /dev/null", "systemctl restart containerd docker"),
    ],
    ids=["no-image", "no-docker", "frozen-docker"],
)
def test_without_its_image_a_release_is_refused_and_nothing_stops(
    docker_rig: DockerRig, program: str | None, words: str
) -> None:
    rig = docker_rig
    one = rig.publish("1.0.0")
    rig.deploy(one)
    rig.deploy(rig.publish("1.1.0"))
    rig.wait_copied(one)
    rig.copy_of(one).unlink()
    rig.lose_image(one)
    if program is not None:
        (rig.bin / "docker").unlink()
        (rig.bin / "docker").write_text(f"#!/bin/sh\n{program}\n")
        (rig.bin / "docker").chmod(0o755)
    since = len(docker.calls(rig.bin))

    done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

    assert done.returncode == 5 and words in done.stderr
    assert units(rig, since) == []


def test_an_image_that_docker_lost_is_loaded_from_its_copy(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    rig.wait_copied(one)
    rig.lose_image(one)
    hand_to_systemd(rig)
    try:
        done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

        assert done.returncode == 0, done.stderr
        rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
        assert rig.status()["running"]["digest"] == one
    finally:
        stop_unit(rig)


def test_a_copy_that_is_damaged_is_not_loaded(docker_rig: DockerRig) -> None:
    rig = docker_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    rig.wait_copied(one)
    rig.lose_image(one)
    rig.copy_of(one).write_bytes(rig.copy_of(one).read_bytes() + b"x")

    done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

    assert done.returncode == 5 and "has no copy" in done.stderr
    assert rig.calls("docker", "load") == []


def test_code_that_is_gone_is_unpacked_again_by_the_agent_that_starts_it(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    rig.lose_image(one)

    done = subprocess.run([RESCUE, "--root", rig.root], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    rig.until(lambda: rig.run("status").code == 0, "the earlier release drives")
