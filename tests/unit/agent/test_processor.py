"""What is told of a process's place on the processor, and the slots' nice value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.agent.__main__ import main
from stack.agent.machine.processor import processor
from tests.fakes.rig import Rig

PID = 71
V2 = "0::/system.slice/homeport-agent.service\n"
V1 = "5:cpuset:/\n4:cpu,cpuacct:/robots/one\n0::/\n"


def stat(nice: int = 0, core: int = 0, real_time: int = 0) -> str:
    fields = ["0"] * 50
    fields[0] = "S"
    fields[16], fields[36], fields[37] = str(nice), str(core), str(real_time)
    return f"{PID} (a) name) {' '.join(fields)}\n"


def make_proc(folder: Path, cgroup: str) -> Path:
    """A process of two threads, of which one is in real time."""
    for name, text in ((".", stat(-5, 3)), ("task/71", stat(-5, 3)), ("task/72", stat(real_time=49))):
        path = folder / "proc" / str(PID) / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "stat").write_text(text)
    (folder / "proc" / str(PID) / "cgroup").write_text(cgroup)
    return folder / "proc"


@pytest.mark.parametrize(
    ("cgroup", "file", "number", "words"),
    [
        (V2, "system.slice/homeport-agent.service/cpu.weight", 400, "cgroup /system.slice/homeport-agent.service"),
        (V1, "cpu,cpuacct/robots/one/cpu.shares", 4096, "cgroup /robots/one"),
    ],
    ids=["version 2", "version 1"],
)
def test_core_priority_group_and_weight_are_told(
    tmp_path: Path, cgroup: str, file: str, number: int, words: str
) -> None:
    proc, groups = make_proc(tmp_path, cgroup), tmp_path / "cgroup"
    told = f"core 3, nice -5 and real time 49, {words}"
    assert str(processor(PID, proc, groups)) == told, "no file tells the weight"
    (groups / file).parent.mkdir(parents=True)
    (groups / file).write_text(f"{number}\n")
    assert str(processor(PID, proc, groups)) == f"{told}, weight 400"


def test_of_a_process_that_is_gone_nothing_is_told(tmp_path: Path) -> None:
    assert processor(PID, tmp_path) is None


def test_a_slot_gets_its_nice_value_and_status_and_doctor_tell_it(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.stop_agent()
    rig.layout.agent_toml.write_text(f"slot_nice = 3\n{rig.layout.agent_toml.read_text()}")
    rig.start_agent()
    rig.deploy(rig.publish("1.0.0"))
    slot = rig.status()["slots"]["a"]
    nice = os.getpriority(os.PRIO_PROCESS, slot["pid"])
    assert nice == min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)
    assert f", nice {nice}" in slot["processor"] and "cgroup /" in slot["processor"]
    main(["--root", str(rig.root), "status"])
    assert "processor: core " in capsys.readouterr().out
    main(["--root", str(rig.root), "doctor", "--only", "processor"])
    assert "slot a on core " in capsys.readouterr().out
