"""What a playbook refuses before anything starts, played with Ansible itself on an inventory whose robots nobody may
reach.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.ros import REPOSITORY

INVENTORY = """
robots:
  children:
    bay: {hosts: {bay-1: , bay-2: }}
    hall: {hosts: {hall-1: }}
other: {hosts: {registry: }}
"""
PLAYBOOKS = sorted(path.stem for path in (REPOSITORY / "ansible/playbooks").glob("*.yml") if path.stem != "refuse")


def play(folder: Path, *options: str, inventory: str = "inventory.yml", **settings: str) -> tuple[int, str]:
    """Exit code and words of refuse.yml."""
    (folder / "inventory.yml").write_text(INVENTORY)
    (folder / "empty").touch()
    own = {
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible/ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    argv = [program, "-i", inventory, *options, str(REPOSITORY / "ansible/playbooks/refuse.yml")]
    environment = {**os.environ, "PWD": str(folder), **own, **settings}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("limit", ["robots:&bay", "bay-1, bay-2", "robots:!hall", "hall-1,registry"])
def test_a_limit_of_robots_is_taken(limit: str, tmp_path: Path) -> None:
    code, text = play(tmp_path, "--limit", limit)

    assert code == 0, text


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (" , ", "names none of the robots (bay-1, bay-2, hall-1)"),
        ("registry", "names none of the robots"),
        ("@empty", "names none of the robots"),
        ("nobody", "Could not match supplied host pattern"),
        ("robots:!hal", "Could not match supplied host pattern"),
        ("bay:&hall", "no hosts to target"),
    ],
)
def test_a_limit_that_leaves_no_robot_or_names_an_unknown_one_is_refused(
    limit: str, words: str, tmp_path: Path
) -> None:
    code, text = play(tmp_path, "--limit", limit)

    assert code and words in text


def test_an_inventory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    code, text = play(tmp_path, inventory="nowhere.yml")

    assert code and "Completely failed to parse inventory source" in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"ANSIBLE_STRATEGY": "free"}, "Ansible's strategy is free, and a rollout judges whole waves; take"),
        ({"ANSIBLE_STRATEGY": "ansible.builtin.host_pinned"}, "Ansible's strategy is ansible.builtin.host_pinned"),
        ({"ANSIBLE_ANY_ERRORS_FATAL": "True"}, "nothing would be undone; take `any_errors_fatal` out of ansible.cfg"),
    ],
)
def test_an_ansible_under_which_a_rollout_cannot_be_judged_is_refused(
    setting: dict[str, str], words: str, tmp_path: Path
) -> None:
    code, text = play(tmp_path, **setting)

    assert code and words in " ".join(text.split())


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_every_playbook_begins_with_it(name: str) -> None:
    text = (REPOSITORY / f"ansible/playbooks/{name}.yml").read_text()
    first = text[text.index("- name:") :].splitlines()[1].strip()

    assert first == "ansible.builtin.import_playbook: refuse.yml"
