"""A stand-in for NVIDIA's `nvbootctrl` that prints what the real one was recorded to print, and firmware variables as
the kernel shows them.

The texts are those of Jetson Linux 35.5 to 39.2 in NVIDIA's forum and documentation; nobody here has run the tool
itself.
"""

from __future__ import annotations

from pathlib import Path

from model_registry.core.layout import Layout

BOOTLOADER = """Current version: 36.4.7
Capsule update status: 0
Current bootloader slot: A
Active bootloader slot: A
num_slots: 2
slot: 0,             status: normal
slot: 1,             status: normal
"""
ROOTFS = """Current rootfs slot: A
Active rootfs slot: A
num_slots: 2
slot: 0,             retry_count: 3,             status: normal
slot: 1,             retry_count: 3,             status: normal
"""
NVIDIA, GLOBAL = "781e084c-a330-417c-b678-38e696380cb9", "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_PROGRAM = """#!/bin/sh
case "$*" in
    "-t rootfs dump-slots-info") cat "$0.rootfs" ;;
    dump-slots-info) cat "$0.bootloader" ;;
    get-current-slot) cat "$0.current" ;;
    *) exit 1 ;;
esac
"""


def install(folder: Path, rootfs: str | None = ROOTFS, bootloader: str | None = BOOTLOADER, current: str = "0") -> None:
    """Put it into a folder for PATH; it fails where a text is None."""
    folder.mkdir(exist_ok=True)
    path = folder / "nvbootctrl"
    path.write_text(_PROGRAM)
    path.chmod(0o755)
    for name, text in {"rootfs": rootfs, "bootloader": bootloader, "current": f"{current}\n"}.items():
        recorded = folder / f"nvbootctrl.{name}"
        recorded.unlink(missing_ok=True)
        if text is not None:
            recorded.write_text(text)


def make_jetson(layout: Layout) -> None:
    layout.etc.mkdir(parents=True, exist_ok=True)
    layout.tegra_release.resolve().write_text("# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic\n")


def set_variable(layout: Layout, name: str, value: int) -> None:
    """Four bytes of attributes, then the value as a 32-bit number."""
    layout.efivars.mkdir(exist_ok=True)
    (layout.efivars / name).write_bytes(b"\x07\0\0\0" + value.to_bytes(4, "little"))
