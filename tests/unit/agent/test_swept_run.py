"""RUN lies below /tmp where a robot has a root of its own, and systemd-tmpfiles removes there what nobody has written
for days.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from model_registry.core.files import spare
from stack.supervisor.requests import CONTROL, OPERATOR
from stack.supervisor.sockets import SocketServer
from tests.fakes.rig import Rig
from tests.fakes.ros import wait_until

SWEEPER = shutil.which("systemd-tmpfiles")


def policies(rig: Rig) -> list[int]:
    """Processes of this robot's policies."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if str(rig.root) in line and "stack.policy" in line]


def spared(folder: Path) -> bool:
    """Whether systemd-tmpfiles would pass the folder over: it asks for this lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@pytest.mark.skipif(SWEEPER is None, reason="systemd-tmpfiles is not installed here")
def test_systemd_tmpfiles_passes_over_a_folder_that_is_spared(tmp_path: Path) -> None:
    swept, kept = (tmp_path / "tmp" / name for name in ("swept", "kept"))
    for folder in (swept, kept):
        (folder / "slot-a").mkdir(parents=True)
        for path in (folder / "slot-a.process.json", folder / "slot-a/status.json"):
            path.write_text("{}")
    (tmp_path / "age.conf").write_text(f"d {tmp_path}/tmp 1777 - - 1s\n")
    descriptor = spare(kept)
    assert descriptor is not None

    def cleaned() -> bool:
        subprocess.run([str(SWEEPER), "--clean", str(tmp_path / "age.conf")], check=True, timeout=30)
        return not (swept / "slot-a/status.json").exists()

    wait_until(cleaned, 20.0, "systemd-tmpfiles to remove what is older than a second")

    assert (kept / "slot-a.process.json").exists() and (kept / "slot-a/status.json").exists()
    os.close(descriptor)
    wait_until(
        lambda: cleaned() and not (kept / "slot-a.process.json").exists(), 20.0, "the folder to be swept after that"
    )


def test_the_agent_spares_its_run_folder_while_it_serves(rig: Rig) -> None:
    rig.until(lambda: spared(rig.layout.run), "the agent holds its folder")
    rig.stop_agent()

    assert not spared(rig.layout.run)


def test_the_supervisor_spares_it_too(tmp_path: Path) -> None:
    paths = {CONTROL: tmp_path / "run/control/c.sock", OPERATOR: tmp_path / "run/operator/o.sock"}
    server = SocketServer(paths, lambda _: None)

    assert spared(tmp_path / "run")
    server.close()
    assert not spared(tmp_path / "run")


def test_an_agent_whose_run_folder_was_swept_runs_one_policy_and_stays_well(rig: Rig) -> None:
    """By whatever does not ask for locks: every file is gone, the sockets and the policy are not."""
    rig.deploy(rig.publish("1.0.0"))
    rig.until(lambda: rig.status()["healthy"], "the robot is well")
    before = policies(rig)
    for path in [each for each in rig.layout.run.rglob("*") if each.is_file()]:
        path.unlink(missing_ok=True)

    note = rig.layout.slot_process("a"), rig.layout.slot_process("b")
    rig.until(lambda: any(path.exists() for path in note) and rig.status()["healthy"], "it is well again")

    assert policies(rig) == before
    assert rig.run("rollback", "--to", "fallback").code == 0
    assert rig.run("stage", rig.publish("1.1.0")).code == 0
    assert policies(rig) == before
