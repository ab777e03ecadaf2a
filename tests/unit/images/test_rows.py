"""The table of rows: exact L4T, refused mistakes, and the README's table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images import lock, platforms, table
from model_registry.core.errors import IncompatibleError, UsageError

ROOT = Path(__file__).parents[3]
ROWS = platforms.read()


@pytest.mark.parametrize(
    ("release", "row"),
    [("36.4.0", "jp6"), ("36.4.7", "jp6"), ("36.5.0", "jp6"), ("38.2.1", "jp7"), ("38.4.0", "jp7"), ("39.2.0", "jp72")],
)
def test_an_l4t_release_fits_exactly_one_row(release: str, row: str) -> None:
    assert platforms.find_l4t(ROWS, release).name == row


@pytest.mark.parametrize("release", ["36.4", "36.4.5", "36.3.0", "R36.4.3", "35.6.4", "39.2", "", "36.4.3 "])
def test_nothing_near_is_taken_for_an_unknown_l4t_release(release: str) -> None:
    with pytest.raises(IncompatibleError, match=r"no row of images/platforms.toml lists it.*l4t = \["):
        platforms.find_l4t(ROWS, release)


def test_the_error_gives_the_whole_line_to_write() -> None:
    with pytest.raises(IncompatibleError, match=r'\[rows.jp72\] l4t = \["39.2.0", "39.2.1"\]'):
        platforms.find_l4t(ROWS, "39.2.1")


def test_a_release_in_two_rows_is_refused_with_both_names() -> None:
    rows = ROWS | {"other": replace(ROWS["jp6"], name="other")}

    with pytest.raises(IncompatibleError, match="jp6 and other; remove"):
        platforms.find_l4t(rows, "36.4.3")


GOOD = (ROOT / "images/platforms.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('gpu = "none"', 'gpu = "none"\ncolour = "red"', "rows.cpu: unknown key 'colour'"),
        ('arches = ["amd64", "arm64"]', 'arches = ["riscv64"]', "rows.cpu.arches: expected some of amd64, arm64"),
        ('python = "3.11"', 'python = "3.12"', "rows.cpu.python: expected one of 3.11"),
        ('base = ""', 'base = "debian:12"', "rows.cpu.base: only debian12 is made from packages"),
        ("13.0.2-runtime-ubuntu24.04", "latest", "rows.x86-cuda.base: expected NAME:TAG with a fixed tag"),
        ('    "tini",', '    "aaa",', "rows.cpu.packages: sort them"),
        ('arm64 = "none"', 'arm64 = "magic"', "rows.cpu.ros_from: expected wheels, apt or none"),
    ],
)
def test_a_wrong_row_is_refused_and_the_key_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = tmp_path / "platforms.toml"
    path.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(UsageError, match=message):
        platforms.read(path)


def test_cuda_rows_carry_tensorrt_10_and_ros_with_cv_bridge_and_vision_msgs() -> None:
    for row in (row for row in ROWS.values() if row.cuda):
        assert row.tensorrt.startswith("10."), row.name
        assert {f"ros-{row.ros}-cv-bridge", f"ros-{row.ros}-vision-msgs"} <= set(row.packages), row.name
        assert any(wheel.startswith("torch==") for wheel in row.wheels), row.name
        assert any(wheel.startswith("cuda-python") for wheel in row.wheels), row.name
        assert any(wheel.startswith("torch-tensorrt==") for wheel in row.wheels) == bool(row.torch_tensorrt), row.name


def test_the_readme_has_the_table_of_these_rows() -> None:
    readme = (ROOT / "README.md").read_text()

    assert readme == table.replaced(readme, ROWS, lock.load()), "run .venv/bin/python -m images.bake table"


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(UsageError, match="expected <!-- rows --> and <!-- /rows -->"):
        table.replaced("# Homeport\n", ROWS, lock.load())
