"""What is read of a Jetson's two systems, and that a robot whose system is not settled takes no release."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_registry.core.errors import RefusedError
from model_registry.core.layout import Layout
from stack.agent.machine.os_slots import OsSlots, check_settled, read_os_slots
from tests.fakes import nvbootctrl
from tests.fakes.nvbootctrl import BOOTLOADER, GLOBAL, NVIDIA, ROOTFS, install, set_variable
from tests.fakes.rig import Rig

FELL_BACK = """Current rootfs slot: B
Active rootfs slot: B
num_slots: 2
slot: 0,             retry_count: 0,             status: unbootable
slot: 1,             retry_count: 3,             status: normal
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "tools"


@pytest.fixture
def jetson(tmp_path: Path, tools: Path) -> Layout:
    layout = Layout.at(tmp_path / "jetson")
    nvbootctrl.make_jetson(layout)
    install(tools)
    return layout


def read(layout: Layout) -> OsSlots:
    slots = read_os_slots(layout)
    assert slots is not None
    return slots


def test_a_machine_without_l4t_has_no_such_slots(tmp_path: Path, tools: Path) -> None:
    install(tools)
    assert read_os_slots(Layout.at(tmp_path)) is None


def test_a_settled_jetson_has_nothing_to_say(jetson: Layout) -> None:
    assert read(jetson) == OsSlots("A")
    check_settled(jetson)


@pytest.mark.parametrize(
    ("rootfs", "bootloader", "words"),
    [
        (
            ROOTFS.replace("Active rootfs slot: A", "Active rootfs slot: B"),
            BOOTLOADER,
            "system B boots next, and A runs",
        ),
        (ROOTFS, BOOTLOADER.replace("Active bootloader slot: A", "Active bootloader slot: B"), "system B boots next"),
        (
            ROOTFS.replace("0,             retry_count: 3", "0,             retry_count: 2"),
            BOOTLOADER,
            "on a trial boot (2 of 3",
        ),
    ],
)
def test_a_system_on_trial_or_about_to_change_refuses_a_deploy(
    jetson: Layout, tools: Path, rootfs: str, bootloader: str, words: str
) -> None:
    install(tools, rootfs, bootloader)
    with pytest.raises(RefusedError, match=r"not settled: .*finish or undo its update") as refused:
        check_settled(jetson)
    assert words in str(refused.value)


def test_a_firmware_capsule_that_waits_refuses_a_deploy(jetson: Layout) -> None:
    set_variable(jetson, f"OsIndications-{GLOBAL}", 0x04)
    with pytest.raises(RefusedError, match="capsule waits for the next boot"):
        check_settled(jetson)


def test_the_firmware_says_how_many_tries_there_are(jetson: Layout, tools: Path) -> None:
    install(tools, ROOTFS.replace("retry_count: 3", "retry_count: 1"))
    set_variable(jetson, f"RootfsRetryCountMax-{NVIDIA}", 1)
    assert read(jetson).unsettled == ()


@pytest.mark.parametrize("by", ["tool", "variable"])
def test_a_slot_that_is_marked_for_good_is_a_warning_and_no_refusal(jetson: Layout, tools: Path, by: str) -> None:
    if by == "tool":
        install(tools, FELL_BACK, BOOTLOADER.replace("slot: A", "slot: B"), "1")
    else:
        set_variable(jetson, f"RootfsStatusSlotA-{NVIDIA}", 0xFF)
    [warning] = read(jetson).warnings
    assert "system A is marked unbootable for good (0xFF)" in warning
    check_settled(jetson)


def test_one_system_only_is_lawful(jetson: Layout, tools: Path) -> None:
    install(tools, None)
    assert read(jetson) == OsSlots("A")


@pytest.mark.parametrize("text", ["", "Error: cannot open /dev/mem\n", "Current rootfs slot: C\n"])
def test_what_cannot_be_read_is_a_warning_and_no_refusal(jetson: Layout, tools: Path, text: str) -> None:
    install(tools, text, text)
    assert "not known" in read(jetson).warnings[0]
    check_settled(jetson)


def test_without_the_tool_the_slots_are_not_known(jetson: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nvbootctrl is not installed" in read(jetson).warnings[0]


def test_a_tool_that_contradicts_itself_is_a_warning(jetson: Layout, tools: Path) -> None:
    install(tools, current="1")
    assert "contradicts itself" in read(jetson).warnings[0]


def test_stage_and_switch_are_refused_while_the_system_is_on_trial_and_a_rollback_is_not(
    tmp_path: Path, tools: Path
) -> None:
    trial = ROOTFS.replace("retry_count: 3", "retry_count: 2")
    with Rig(tmp_path) as rig:
        one, two, three = (rig.publish(version, change=for_jetson) for version in ("1.0.0", "1.1.0", "1.2.0"))
        nvbootctrl.make_jetson(rig.layout)
        rig.layout.robot_toml.write_text(
            rig.layout.robot_toml.read_text().replace("battery_floor", 'l4t = "36.4.7"\nbattery_floor', 1)
        )
        install(tools)
        assert rig.deploy(one).code == 0
        assert rig.deploy(two).code == 0
        install(tools, trial)
        staged = rig.run("stage", three)
        assert staged.code == 5 and staged.result["failure"]["stage"] == "PREFLIGHT"
        assert "trial boot" in staged.message and rig.status()["quarantined"] == []
        assert rig.run("rollback").code == 0
        assert "trial boot" in rig.run("switch", two).message
        assert rig.status()["running"]["digest"] == one
        install(tools)
        assert rig.run("switch", two).code == 0


def for_jetson(fields: dict) -> None:
    fields["compatibility"]["l4t"] = ["36.4.7"]
