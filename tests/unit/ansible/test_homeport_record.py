"""The module that writes down what a run was asked and what came of it, as Ansible runs it: a process with its
arguments as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fakes.schemas import check

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "ansible_collections/homeport/fleet/plugins/modules/homeport_record.py"
RELEASE = f"sha256:{'ab' * 32}"
HOST = {"ok": True, "story": "done", "stage": "IDLE", "running": None, "failure": None, "touched": True}
OUTCOME = {"summary": "1 of 1 robots are as wanted. ", "hosts": {"h1": HOST | {"restored": None, "gates": []}}}


def run(place: Path, check_mode: bool = False, **arguments: object) -> dict:
    given = {**arguments, "_ansible_check_mode": check_mode, "_ansible_remote_tmp": str(place)}
    process = subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SUDO_USER": "ann"},
    )
    assert process.stdout, process.stderr
    return dict(json.loads(process.stdout))


def begin(place: Path, **more: object) -> dict:
    asked = {"release": RELEASE, "robots": ["h1"], "limit": None}
    return run(place, state="begun", kind="deploy", inventory=[str(place / "hosts.yml")], asked=asked, **more)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    (tmp_path / "hosts.yml").write_text("robots: {hosts: {h1: }}")
    return tmp_path


def test_a_run_has_a_record_from_its_beginning_and_who_made_it(fleet: Path) -> None:
    begun = begin(fleet)

    path = Path(begun["record"])
    record = json.loads(path.read_text())
    check(record, "rollout")
    assert path.parent == fleet / "rollouts" and path.stem.endswith(f"-deploy-{RELEASE[7:19]}")
    assert begun["by"] == f"ann@{record['who']['host']}" and record["ended"] is record["outcome"] is None

    run(fleet, state="ended", record=str(path), outcome=OUTCOME)

    check(record := json.loads(path.read_text()), "rollout")
    assert record["outcome"] == OUTCOME and record["ended"] is not None
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_no_run_writes_over_the_record_of_another_one(fleet: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(begin(fleet)["record"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 4 and len(list((fleet / "rollouts").iterdir())) == 4


def test_an_inventory_that_is_a_folder_has_no_records_inside_where_ansible_would_read_them(fleet: Path) -> None:
    asked = {"to": "previous"}
    begun = run(fleet, state="begun", kind="rollback", inventory=["gone,", str(fleet)], asked=asked)

    assert Path(begun["record"]).parent == fleet.parent / "rollouts"
    assert Path(begun["record"]).stem.endswith("-rollback-previous")
    Path(begun["record"]).unlink()


def test_check_mode_and_an_empty_folder_write_nothing(fleet: Path) -> None:
    for begun in (begin(fleet, check_mode=True), begin(fleet, folder="")):
        assert begun["record"] == "" and begun["by"].startswith("ann@")
    assert not (fleet / "rollouts").exists()


def test_a_history_that_cannot_be_written_stops_no_run(fleet: Path) -> None:
    (fleet / "rollouts").write_text("a file")

    begun = begin(fleet)

    assert begun["record"] == "" and not begun.get("failed")
    assert "this run is in no history" in str(begun["warnings"][0])
