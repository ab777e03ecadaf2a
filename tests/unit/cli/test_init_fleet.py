"""`homeport init fleet`: what it writes is read by the programs that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_registry.core.errors import RefusedError
from model_registry.releasing import Draft
from stack.cli.init import CHECKOUT, write_fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "my fleet", "process")


def test_ansible_reads_the_inventory_and_executes_nothing_of_it(fleet: Path) -> None:
    program = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run(
        [program, "-i", fleet / "hosts.yml", "--list"], capture_output=True, text=True, check=True, cwd=fleet
    )

    found = json.loads(done.stdout)
    host = found["_meta"]["hostvars"]["bay-1"]
    assert found["robots"]["hosts"] == ["bay-1", "bay-2"]
    assert host["homeport_runtime"] == "process"
    assert done.stderr == ""


def test_the_folder_is_an_inventory_too_whatever_lies_in_it(fleet: Path) -> None:
    for name in ("homeport-agent", "homeport-agent.candidate"):
        (fleet / name).write_text(f"#!/bin/sh\ntouch '{fleet}/executed'\n")
        (fleet / name).chmod(0o755)
    program = Path(sys.executable).with_name("ansible-inventory")
    settings = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible" / "ansible.cfg")}
    done = subprocess.run([program, "-i", fleet, "--list"], capture_output=True, text=True, env=settings)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["robots"]["hosts"] == ["bay-1", "bay-2"]
    assert not (fleet / "executed").exists()


def test_release_create_reads_the_release(fleet: Path) -> None:
    draft = Draft.load(fleet / "release.toml")

    assert draft.name == "pilot"
    text = (fleet / "release.toml").read_text()
    [lock] = [line.split('"')[1] for line in text.splitlines() if line.startswith("lock = ")]
    assert (fleet / lock).resolve() == CHECKOUT / "requirements" / "robot.txt"


def test_the_private_key_is_ones_own_and_the_public_one_is_where_the_inventory_looks(fleet: Path) -> None:
    assert (fleet / "keys" / "release.key").stat().st_mode & 0o777 == 0o600
    assert (fleet / "keys" / "release.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert "{{ inventory_dir }}/keys/release.pub" in (fleet / "group_vars" / "robots.yml").read_text()


def test_rows_of_containers_get_the_other_example(tmp_path: Path) -> None:
    made = write_fleet(tmp_path / "fleet", "jp6")

    assert "homeport_device_image" in (made / "group_vars" / "orin.yml").read_text()


def test_a_folder_that_holds_something_or_is_in_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "hosts.yml").write_text("mine")
    with pytest.raises(RefusedError, match="is not empty"):
        write_fleet(tmp_path / "used", "process")
    assert (tmp_path / "used" / "hosts.yml").read_text() == "mine"
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    with pytest.raises(RefusedError, match="inside the repository"):
        write_fleet(tmp_path / "repository" / "fleet", "process")
    assert not (tmp_path / "repository" / "fleet").exists()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()

    assert (write_fleet(tmp_path / "fleet", "process") / "hosts.yml").exists()
