"""The role `device` adds, retires and removes keys, and forgets none that a robot may have to start something with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.homeport.fleet.plugins.filter.keys import key_files, signers
from tests.fakes.trust import Signer, envelope

TOP = Path(__file__).parents[3]
A, B, C = Signer(), Signer(), Signer()


class KeyedRobot:
    """A robot below one folder, whose `current` key A has signed, and the tasks that look after its keys."""

    def __init__(self, folder: Path) -> None:
        self.root, self.folder = folder / "robot", folder
        self.keys = self.root / "etc/keys"
        (self.root / "releases/one").mkdir(parents=True)
        (self.root / "releases/one/release.dsse.json").write_bytes(envelope("application/x", b"{}", A))
        (self.root / "current").symlink_to("releases/one")

    def apply(self, *signing: Signer, removed: tuple[Signer, ...] = ()) -> tuple[int, str]:
        """Install the keys, then retire; exit code and what was said."""
        files = [str(signer.install(self.folder / "controller")) for signer in signing]
        variables = {"device_root": str(self.root), "homeport_public_keys": files, "homeport_runtime": "process"}
        variables |= {"homeport_removed_keys": [signer.id.hex for signer in removed]}
        role = {"name": "homeport.fleet.device"}
        tasks = [{"ansible.builtin.include_role": {**role, "tasks_from": part}} for part in ("trust", "retire")]
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
        (self.folder / "play.json").write_text(json.dumps(play))
        environment = os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(TOP),
            "ANSIBLE_CONFIG": str(TOP / "ansible/ansible.cfg"),
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        argv = [program, "-i", "localhost,", str(self.folder / "play.json"), "-e", json.dumps(variables)]
        python = f"ansible_python_interpreter={sys.executable}"
        done = subprocess.run([*argv, "-e", python], env=environment, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    def names(self, folder: str = "") -> set[str]:
        return {path.name for path in (self.keys / folder).glob("*.pub")}


def test_keys_are_added_retired_and_removed_as_the_inventory_says(tmp_path: Path) -> None:
    robot = KeyedRobot(tmp_path)
    robot.keys.mkdir(parents=True)
    code, said = robot.apply(A, C)
    assert code == 0 and robot.names() == {A.file, C.file} and robot.names("retired") == set(), said

    code, said = robot.apply(B, C)
    assert code == 0 and (robot.names(), robot.names("retired")) == ({B.file, C.file}, {A.file}), said

    code, said = robot.apply(B, removed=(A,))
    assert code == 2 and "which signed current, previous or fallback here" in said
    assert A.file in robot.names("retired"), "without it the robot could start nothing"

    code, said = robot.apply(B, removed=(C,))
    assert code == 0 and (robot.names(), robot.names("retired")) == ({B.file}, {A.file}), said


@pytest.mark.parametrize("retired", [False, True])
def test_a_key_that_signs_again_leaves_retirement_and_a_removed_one_leaves_both(retired: bool) -> None:
    path = f"/etc/homeport/keys/{'retired/' if retired else ''}{A.id.hex}.pub"
    assert key_files([path], [A.id.hex], []) == {"retire": [], "remove": [path] if retired else []}
    assert key_files([path], [], []) == {"retire": [] if retired else [A.id.hex], "remove": [] if retired else [path]}
    assert key_files([path], [], [A.id.hex]) == {"retire": [], "remove": [path]}


def test_signers_are_read_from_what_slurp_gives() -> None:
    import base64

    documents = [envelope("application/x", b"{}", A, B), envelope("application/x", b"{}", B)]
    assert signers([base64.b64encode(each).decode() for each in documents]) == sorted({A.id.hex, B.id.hex})
    assert signers([]) == []
