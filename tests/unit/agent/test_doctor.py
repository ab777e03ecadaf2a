"""The doctor on robots that are well, ill in one place each, and without an agent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_registry.core.layout import Layout
from stack.agent.__main__ import main
from stack.agent.doctor.checks import CHECKS
from stack.agent.doctor.examine import DoctorLine, Doubt, Patient, document, examine
from stack.agent.machine.processes import ProcessId, boot_id, remember, start_ticks
from tests.fakes import docker, nvbootctrl
from tests.fakes.docker_rig import DockerRig, image_id
from tests.fakes.rig import TOP, Rig
from tests.fakes.schemas import check

HEALED = ("etc", "releases")
PROFILE = TOP / "images/dds.xml"


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A robot that has committed a release, and a copy of it beside, to be well again after each illness."""
    folder = tmp_path_factory.mktemp("clinic")
    with Rig(folder) as rig:
        rig.deploy(rig.publish("1.0.0"))
        shutil.copy(PROFILE, rig.layout.dds_profile)
        for name in HEALED:
            shutil.copytree(rig.root / name, folder / "well" / name, symlinks=True)
        yield rig


@pytest.fixture
def well(clinic: Rig, tmp_path: Path) -> Iterator[Patient]:
    yield Patient(clinic.layout, proc_folder(tmp_path / "proc"))
    clinic.supervisor.faults.clear()
    clinic.layout.tegra_release.resolve().unlink(missing_ok=True)
    for name in HEALED:
        shutil.rmtree(clinic.root / name)
        shutil.copytree(clinic.root.parent / "well" / name, clinic.root / name, symlinks=True)


def proc_folder(proc: Path, rmem_max: int = 4_194_304, available_mib: int = 4096) -> Path:
    (proc / "sys/net/core").mkdir(parents=True, exist_ok=True)
    (proc / "sys/net/core/rmem_max").write_text(f"{rmem_max}\n")
    (proc / "meminfo").write_text(f"MemTotal:  9000000 kB\nMemAvailable:  {available_mib << 10} kB\n")
    return proc


def look(patient: Patient) -> dict[str, DoctorLine]:
    findings = examine(patient, CHECKS)
    result = document(findings)
    check({"v": 1, "ok": True, "result": result}, "agent", "reply")
    check(result, "agent", "doctor")
    return {finding.check: finding for finding in findings}


def one(patient: Patient, name: str) -> DoctorLine:
    return look(patient)[name]


def test_a_robot_that_is_well_has_no_failing_line(well: Patient) -> None:
    found = look(well)
    # This machine's clock and disk are not ours to judge, and the stand-in for the supervisor has no real time.
    assert {name for name, each in found.items() if each.verdict != "ok"} <= {"clock", "disk", "scheduling"}
    assert "robot-1 is a mobile_base, row process/" in found["settings"].text
    assert found["memory"].text.startswith("64 MiB needed so that two slots run (measured peak 64 MiB each), 4096")
    assert found["keys"].text == "1 trusted, and the committed release is signed by one"
    assert "real-time priority" in found["scheduling"].text and "rtprio 50" in str(found["scheduling"].fix)


def test_without_an_agent_everything_but_the_agent_is_told(clinic: Rig, well: Patient) -> None:
    clinic.stop_agent(kill=True)
    found = look(well)
    clinic.start_agent()
    assert found["agent"].verdict == "fail" and found["supervisor"].verdict == "ok"
    assert found["memory"].verdict == "ok" and found["topics"].text == "battery, odom, scan are heard"


def write(path: str, old: str, new: str) -> Callable[[Rig, Path], object]:
    def change(rig: Rig, _: Path) -> object:
        file = rig.root / path
        assert old in file.read_text()
        return file.write_text(file.read_text().replace(old, new))

    return change


ILL: dict[str, tuple[str, str, str, Callable[[Rig, Path], object]]] = {
    "no-settings": ("settings", "fail", "cannot be read", lambda rig, _: rig.layout.robot_toml.unlink()),
    "row": ("settings", "fail", "cannot run with runtime process", write("etc/robot.toml", '"process"', '"jp6"')),
    "base": ("settings", "fail", "configure the base driver", write("etc/robot.toml", "0.25", "0.5")),
    "l4t": ("l4t", "fail", "here is 36.4.7", lambda rig, _: nvbootctrl.make_jetson(rig.layout)),
    "no-dds": ("dds", "fail", "apply the role", lambda rig, _: rig.layout.dds_profile.unlink()),
    "shm": ("dds", "fail", "shared memory", write("etc/dds.xml", ">false<", ">true<")),
    "lan": (
        "dds",
        "warn",
        "other machines can hear",
        write("etc/dds.xml", "127.0.0.1</address>", "192.0.2.7</address>"),
    ),
    "buffers": ("buffers", "fail", "sysctl -w", lambda _, proc: proc_folder(proc, rmem_max=212_992)),
    "no-buffers": ("buffers", "warn", "cannot be seen", lambda _, proc: (proc / "sys/net/core/rmem_max").unlink()),
    "scan": ("topics", "fail", "/scan (stale)", lambda rig, _: rig.supervisor.faults.update(scan="stale")),
    "keys": ("keys", "fail", "no public key", lambda rig, _: shutil.rmtree(rig.layout.keys)),
    "budget": (
        "memory",
        "warn",
        "stops the old release first",
        write("etc/agent.toml", "domain_id", "memory_mib = 100\ndomain_id"),
    ),
    "memory": ("memory", "warn", "32 available", lambda _, proc: proc_folder(proc, available_mib=32)),
    "no-peak": (
        "memory",
        "warn",
        "--retry",
        lambda rig, _: write(f"{rig.layout.current.resolve().relative_to(rig.root)}/prove.json", "peak_", "other_")(
            rig, _
        ),
    ),
    "no-proof": ("memory", "fail", "prove.json", lambda rig, _: (rig.layout.current.resolve() / "prove.json").unlink()),
    "signature": (
        "keys",
        "fail",
        "stage it again",
        lambda rig, _: (rig.layout.current.resolve() / "release.dsse.json").unlink(),
    ),
}


@pytest.mark.parametrize("case", ILL, ids=str)
def test_each_illness_has_its_line_and_its_fix(clinic: Rig, well: Patient, case: str) -> None:
    name, verdict, words, change = ILL[case]
    change(clinic, well.proc)

    found = one(Patient(well.layout, well.proc), name)

    assert found.verdict == verdict and words in str(found)
    assert found.fix and "\n" not in str(found)


def test_a_silent_supervisor_is_told_once(clinic: Rig, well: Patient) -> None:
    away = clinic.layout.control_socket.with_name("away")
    clinic.layout.control_socket.rename(away)
    found = look(Patient(well.layout, well.proc))
    away.rename(clinic.layout.control_socket)
    assert found["supervisor"].verdict == "fail" and "is the service" in str(found["supervisor"].fix)
    assert found["topics"].text == found["scheduling"].text == "not known, see supervisor"


@pytest.mark.parametrize(("age_ms", "words"), [(9000.0, "/camera/image_raw (9 s old)"), (None, "never heard")])
def test_a_camera_that_only_slots_hear_is_a_silent_topic(rig: Rig, age_ms: float | None, words: str) -> None:
    rig.deploy(rig.publish("1.0.0"))
    status = json.loads(rig.layout.slot_status("a").read_bytes())
    rig.stop_agent()
    os.kill(status["pid"], signal.SIGKILL)
    own = ProcessId(os.getpid(), start_ticks(os.getpid()) or 0, boot_id())
    remember(rig.layout.slot_process("a"), own, own.pid)
    status |= {"pid": own.pid, "start_ticks": own.start_ticks, "monotonic_ns": time.monotonic_ns()}
    status["sources"]["camera_front"]["age_ms"] = age_ms
    rig.layout.slot_status("a").write_text(json.dumps(status))

    found = one(Patient(rig.layout), "topics")
    rig.layout.slot_process("a").unlink()

    assert found.verdict == "fail" and words in found.text and "ROS domain 41" in str(found.fix)


CLOCK = "it is heard, and its stamps are 80 ms ahead of this robot's clock"
REMEDY = "set `stamps = false`"


def refused(reason: str) -> dict[str, dict[str, object]]:
    """What a slot does that does not use its camera."""
    return {"camera_front": {"fault": "future_stamp", "error": f"{reason}; {REMEDY}"}}


def test_what_a_slot_does_not_use_is_a_line_that_names_it_whether_the_slot_drives_or_not(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    assert one(Patient(rig.layout), "inputs").text == "slot a uses camera_front, command, scan"
    rig.deploy(rig.publish("1.3.0", refused(CLOCK)))

    found = look(Patient(rig.layout))

    drives = rig.layout.current.readlink().name
    assert found["inputs"].verdict == "fail" and found["inputs"].fix == REMEDY
    assert found["inputs"].text == f"slot {drives}, camera_front: {CLOCK}"
    assert found["topics"].verdict == "ok", "it is told once"


def test_what_a_shadow_does_not_use_is_a_warning(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    shadow(rig, "b", refused(CLOCK))
    found = one(Patient(rig.layout), "inputs")
    rig.layout.slot_process("b").unlink()
    assert (found.verdict, found.text, found.fix) == ("warn", f"slot b, camera_front: {CLOCK}", REMEDY)


def test_words_that_the_model_does_not_know_are_no_failure_of_the_robot(rig: Rig) -> None:
    rig.deploy(rig.publish("1.0.0"))
    shadow(rig, "b", {"command": {"fault": "unknown_words", "error": "no word of it; say another"}})
    found = one(Patient(rig.layout), "inputs")
    rig.layout.slot_process("b").unlink()
    assert (found.verdict, found.fix) == ("warn", "say another")


def shadow(rig: Rig, slot: str, sources: dict[str, dict[str, object]]) -> None:
    """Let this process be a slot that says so of its sources, on a robot whose agent is gone: that would end it."""
    rig.stop_agent()
    own = ProcessId(os.getpid(), start_ticks(os.getpid()) or 0, boot_id())
    remember(rig.layout.slot_process(slot), own, own.pid)
    status = json.loads(rig.layout.slot_status("a").read_bytes())
    status |= {"slot": slot, "pid": own.pid, "start_ticks": own.start_ticks, "monotonic_ns": time.monotonic_ns()}
    for name, fields in sources.items():
        status["sources"][name] |= fields
    rig.layout.slot_status(slot).parent.mkdir(exist_ok=True)
    rig.layout.slot_status(slot).write_text(json.dumps(status))


def test_what_the_supervisor_cannot_hear_is_named(clinic: Rig, well: Patient) -> None:
    clinic.supervisor.unheard = ["/safety/estop is published by /button as std_msgs/msg/Empty."]
    found = one(Patient(well.layout, well.proc), "topics")
    clinic.supervisor.unheard = []
    assert found.verdict == "fail" and "not heard: /safety/estop is published by /button" in found.text
    assert one(Patient(well.layout, well.proc), "topics").verdict == "ok"
    clinic.supervisor.unheard = None


def test_a_clock_behind_the_robots_own_files_is_a_warning(well: Patient) -> None:
    os.utime(well.layout.agent_toml, (4e9, 4e9))
    assert one(well, "clock").verdict == "warn" and "before this robot's own files" in one(well, "clock").text


def test_an_empty_robot_is_told_the_same_thing_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "doctor"]) == 3
    out = capsys.readouterr().out.splitlines()
    assert [line[:4].strip() for line in out].count("fail") < len(out) / 2
    assert "warn  base        not known, see settings" in out


def test_json_follows_its_schema_and_warnings_end_with_zero(rig: Rig) -> None:
    answer = rig.run("doctor")
    check(answer.result, "agent", "doctor")
    assert answer.code == (3 if answer.result["verdict"] == "fail" else 0)


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    def doubtful(_: Patient) -> str:
        raise Doubt("half; mend it")

    findings = examine(Patient(Layout.at(tmp_path)), {"x": doubtful})
    assert document(findings)["verdict"] == "warn" and findings == [DoctorLine("x", "warn", "half", "mend it")]


@pytest.fixture
def container_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRig]:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with DockerRig(tmp_path) as rig:
        yield rig


def test_docker_and_gpu_are_looked_at_where_containers_run(container_rig: DockerRig) -> None:
    rig, info = container_rig, container_rig.bin / "info.json"
    found = look(Patient(rig.layout))
    assert found["docker"].text == "engine 20.10.24, and the device's image is here"
    assert found["gpu"].text == "none, as row cpu needs none"

    (rig.bin / "images" / image_id("device").hex).unlink()
    assert "role `device`" in str(one(Patient(rig.layout), "docker").fix)

    rig.layout.robot_toml.write_text(rig.layout.robot_toml.read_text().replace('"cpu"', '"x86-cuda"'))
    assert "homeport_gpu" in str(one(Patient(rig.layout), "gpu").fix)
    settings = rig.layout.agent_toml.read_text()
    rig.layout.agent_toml.write_text(f'gpu = "runtime"\n{settings}')
    assert "nvidia-container-toolkit" in str(one(Patient(rig.layout), "gpu").fix)
    info.write_text(json.dumps({**docker.INFO, "Runtimes": {"nvidia": {}}}))
    assert one(Patient(rig.layout), "gpu").text == "Docker knows how to give it (runtime)"

    (rig.bin / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    found = look(Patient(rig.layout))
    assert found["docker"].verdict == "fail" and found["gpu"].text == "not known, see docker"
    assert found["disk"].text.startswith(str(rig.root))


def test_a_frozen_docker_is_waited_for_once_and_is_to_be_started_again(container_rig: DockerRig) -> None:
    rig, asked = container_rig, container_rig.bin / "asked"
    rig.stop_agent(kill=True)  # which asks Docker as well
    (rig.bin / "docker").unlink()
    (rig.bin / "docker").write_text(f"#!/bin/sh\necho $@ >> {asked}\nexec tail -f /dev/null\n")
    (rig.bin / "docker").chmod(0o755)

    found = look(Patient(rig.layout))

    assert found["docker"].verdict == "fail" and "systemctl restart" in str(found["docker"].fix)
    assert found["gpu"].text == "not known, see docker"
    assert found["disk"].text.startswith(str(rig.root))
    assert len([line for line in asked.read_text().splitlines() if line.startswith("info")]) == 1


@pytest.mark.parametrize(
    ("said", "words"), [("exec tail -f /dev/null", "systemctl restart"), ("exit 1", "role `device`")]
)
def test_a_docker_that_hangs_over_one_image_is_not_a_missing_image(
    said: str, words: str, container_rig: DockerRig
) -> None:
    rig = container_rig
    rig.stop_agent(kill=True)  # which would wait for Docker before it ends
    real = rig.bin / "real" / "docker"
    real.parent.mkdir()
    (rig.bin / "docker").rename(real)
    (rig.bin / "docker").write_text(f'#!/bin/sh\n[ "$1" = info ] || {said}\nexec {real} "$@"\n')
    (rig.bin / "docker").chmod(0o755)

    assert words in str(one(Patient(rig.layout), "docker").fix)


def test_a_jetson_shows_its_systems(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    nvbootctrl.make_jetson(rig.layout)
    nvbootctrl.install(tmp_path / "tools")
    assert one(Patient(rig.layout), "system").text == "system A runs and is settled"
    nvbootctrl.install(tmp_path / "tools", nvbootctrl.ROOTFS.replace("Active rootfs slot: A", "Active rootfs slot: B"))
    assert one(Patient(rig.layout), "system").verdict == "fail"
    nvbootctrl.install(tmp_path / "tools")
    nvbootctrl.set_variable(rig.layout, f"RootfsStatusSlotB-{nvbootctrl.NVIDIA}", 0xFF)
    assert "0xFF" in one(Patient(rig.layout), "system").text
