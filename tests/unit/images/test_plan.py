"""What every row would be built from, line by line: also of the rows that cannot be built here.

After a change that is meant: HOMEPORT_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/images/test_plan.py, and
review the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from images import lock, platforms
from images.plan import DOCKERFILE, CheckoutFacts, bake_file, targets
from model_registry.core.errors import NotFoundError

GOLDEN = Path(__file__).with_name("golden")
ROOT = Path(__file__).parents[3]
ROWS = platforms.read()
FACTS = CheckoutFacts("0.0.0", "0" * 40, 1_700_000_000, "https://example.test/homeport")
EVERY = [(row.name, arch) for row in ROWS.values() for arch in row.arches]


def synthetic() -> lock.Lock:
    """An entry for every row and arch; the digests are obviously made up."""
    entry = {
        row.name: lock.LockEntry(row.base, "sha256:" + "00ff" * 16 if row.base else "", {}, (), ())
        for row in ROWS.values()
    }
    return lock.Lock({f"{row}/{arch}": entry[row] for row, arch in EVERY})


@pytest.mark.parametrize(("row", "arch"), EVERY, ids=str)
def test_the_plan_of_each_row_and_arch_is_the_golden_one(row: str, arch: str) -> None:
    found = targets([ROWS[row]], synthetic(), FACTS, "registry.test", arches=[arch])
    plan = {"build": bake_file(found), "push": bake_file(found, "registry.test")}
    lines = json.dumps(plan, indent=1).splitlines()
    path = GOLDEN / f"{row}-{arch}.json"
    if os.environ.get("HOMEPORT_WRITE_GOLDEN"):
        path.write_text("\n".join(lines) + "\n")

    assert lines == path.read_text().splitlines()


def test_there_is_no_golden_plan_without_a_row() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {f"{row}-{arch}" for row, arch in EVERY}


def test_a_row_that_is_not_locked_is_refused_with_the_command() -> None:
    with pytest.raises(NotFoundError, match="run `make lock PLATFORM=jp6 ARCH=arm64` on a machine that reaches"):
        targets([ROWS["jp6"]], lock.Lock({}), FACTS)


def test_the_dockerfile_takes_no_argument_that_the_plan_does_not_give() -> None:
    wanted = set(re.findall(r"^ARG (\w+)", (ROOT / DOCKERFILE).read_text(), re.MULTILINE))

    for target in targets(ROWS.values(), synthetic(), FACTS):
        assert set(target.args) == {"OS", "BASE", "ROW", "ARCH", "PYTHON", "ROS_DISTRO", "SOURCE_DATE_EPOCH"}
        assert wanted <= set(target.args)


def test_a_multi_arch_row_is_one_group_of_one_target_per_arch() -> None:
    document = bake_file(targets([ROWS["cpu"]], synthetic(), FACTS))

    assert document["group"] == {
        "cpu": {"targets": ["cpu-amd64", "cpu-arm64"]},
        "default": {"targets": ["cpu-amd64", "cpu-arm64"]},
    }


BANS = {
    "a moving tag": r":(latest)\b",
    "a remote script": r"(curl|wget)[^\n]*\|\s*(ba|da)?sh",
    "a frontend from a hub": r"^\s*#\s*syntax\s*=",
    "a heredoc": r"<<-?\s*['\"]?[A-Za-z]",
    "a linked copy": r"COPY[^\n]*--(link|parents)",
    "a base without digest": r"^FROM (?!scratch\b|\$\{)[^\n]*[:/]",
}


@pytest.mark.parametrize("ban", BANS, ids=str)
def test_images_stay_in_the_dialect_of_old_and_new_builders(ban: str) -> None:
    for path in [*ROOT.glob("images/*.Dockerfile"), *ROOT.glob("images/*.toml"), ROOT / "images/entrypoint"]:
        assert not re.search(BANS[ban], path.read_text(), re.MULTILINE | re.IGNORECASE), path
