"""What an earlier agent has left on a robot: every version from 0.2.0 on is read, and nothing of it is lost.

tests/fakes/kept has a folder for each version whose documents differ from those of the one before. They are never
changed; a version that writes something else adds a folder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.disk.journal import Journal
from stack.agent.disk.revocations import Revocations, SeenRecord
from stack.agent.disk.store import Store
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.settings.config import Config
from tests.fakes.rig import TOP

KEPT = sorted((TOP / "tests/fakes/kept").iterdir())
ONE, TWO, BAD = Digest.of(b"one"), Digest.of(b"two"), Digest.of(b"bad")


@pytest.fixture(params=KEPT, ids=lambda folder: folder.name)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    """A robot with the documents of an earlier version."""
    layout = Layout.at(tmp_path / "robot")
    layout.etc.mkdir(parents=True)
    for path in request.param.iterdir():
        shutil.copy(path, layout.etc if path.suffix == ".toml" else layout.root)
    return layout


def store_of(layout: Layout) -> Store:
    files = Files()
    return Store(layout, files, ProcessRuntime(layout, Config.load(layout.agent_toml), files))


def test_the_journal_of_an_earlier_version_is_read_whole_and_goes_on(layout: Layout) -> None:
    lines = layout.journal.read_bytes().splitlines()
    journal = Journal(layout.journal, Files())
    assert journal.damaged == [] and journal.unreadable is None and len(journal.records) == len(lines)
    last = journal.records[-1]
    assert (last.stage, last.release) == ("FAILED", BAD) and journal.open_record() is None

    journal.append("next-1", "WAIT", "intent", ONE, {}, journal.fence)
    assert Journal(layout.journal, Files()).records[-1].seq == last.seq + 1


def test_what_was_committed_condemned_and_revoked_stays_so(layout: Layout) -> None:
    store = store_of(layout)
    assert store.floor().committed == (ONE, TWO) and store.floor().minimum_counter == 1
    assert set(store.quarantined()) == {BAD}
    known = Revocations.load(layout)
    assert set(known.releases) == {TWO} and known.seen == {"pilot/stable": SeenRecord(3)}


def test_the_settings_of_an_earlier_version_are_read(layout: Layout) -> None:
    assert Config.load(layout.agent_toml).runtime == "process"
    assert Robot.load(layout.robot_toml).name == "bay-1"


@pytest.mark.parametrize("name", ["floor.json", "quarantine.json", "revoked.json", "agent.toml", "robot.toml"])
def test_a_document_of_a_later_version_is_refused_in_one_line(layout: Layout, name: str) -> None:
    path = layout.etc / name if name.endswith(".toml") else layout.root / name
    if path.suffix == ".json":
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    else:
        path.write_text(path.read_text().replace("schema = 1", "schema = 2"))
    readers = {
        "floor.json": lambda: store_of(layout).floor(),
        "quarantine.json": lambda: store_of(layout).quarantined(),
        "revoked.json": lambda: Revocations.load(layout),
        "agent.toml": lambda: Config.load(layout.agent_toml),
        "robot.toml": lambda: Robot.load(layout.robot_toml),
    }
    with pytest.raises(HomeportError, match=r"schema: 2 is newer than this program knows \(1\)") as refused:
        readers[name]()
    assert name in str(refused.value) and len(str(refused.value).splitlines()) == 1
