"""The journal survives what a power cut leaves behind, and says what else is wrong."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.errors import IncompatibleError
from model_registry.core.files import Files
from stack.agent.disk.journal import Journal, _crc, decode
from stack.agent.machine.processes import boot_id
from tests.fakes.schemas import check

RELEASE = Digest.of(b"release")


def written(path: Path, count: int = 3) -> Journal:
    journal = Journal(path, Files())
    for number in range(count):
        journal.append("d-1", "FETCH", "intent" if number % 2 == 0 else "done", RELEASE, {"number": number})
    return journal


def test_records_come_back_in_order_and_fit_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = written(path)
    again = Journal(path, Files())
    assert again.records == journal.records and [record.seq for record in again.records] == [1, 2, 3]
    for line in path.read_text().splitlines():
        check(json.loads(line), "journal")
        assert json.loads(line)["boot"] == boot_id()


@given(cut=st.integers(min_value=1, max_value=200))
def test_a_torn_tail_is_dropped_and_the_next_record_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    written(path)
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    journal = Journal(path, Files())
    assert [record.seq for record in journal.records] == [1, 2] and journal.damaged == []
    journal.append("d-1", "READY", "done", RELEASE, {})
    assert [record.seq for record in Journal(path, Files()).records] == [1, 2, 3]


def test_a_last_line_with_a_wrong_crc_is_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))
    journal = Journal(path, Files())
    assert len(journal.records) == 2 and journal.damaged == []


def test_damage_before_the_end_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    path.write_bytes(path.read_bytes().replace(b'"number":0', b'"number":9'))
    journal = Journal(path, Files())
    assert journal.damaged == [1] and [record.seq for record in journal.records] == [2, 3]
    assert journal.next_seq == 4


def test_a_line_that_is_not_a_record_is_refused() -> None:
    for line in (b"{}", b"", b"null", b'{"crc":"00000000"}'):
        with pytest.raises(Exception, match="journal"):
            decode(line)


def test_only_a_closed_deployment_leaves_nothing_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", Files())
    assert journal.open_record() is None
    journal.append("d-1", "SWITCH", "intent", RELEASE, {})
    opened = journal.open_record()
    assert opened is not None and opened.stage == "SWITCH"
    journal.append("d-1", "FAILED", "done", RELEASE, {})
    assert journal.open_record() is None


class Failing(Files):
    """A disk that fails at the next sync, after the bytes were written; `full` ones write half."""

    full = False
    fails = False

    def _extend(self, path: Path, data: bytes) -> None:
        super()._extend(path, data[: len(data) // 2] if self.full else data)
        if self.full:
            raise OSError(28, "No space left on device")

    def sync(self, path: Path) -> None:
        if self.fails:
            self.fails = False
            raise OSError(5, "Input/output error")
        super().sync(path)


@pytest.mark.parametrize("fault", ["full", "fails"])
def test_a_record_that_could_not_be_written_leaves_nothing_and_the_next_one_is_whole(
    tmp_path: Path, fault: str
) -> None:
    files = Failing()
    journal = Journal(tmp_path / "journal.jsonl", files)
    journal.append("d-1", "WAIT", "intent", RELEASE, {})
    setattr(files, fault, True)
    with pytest.raises(OSError):
        journal.append("d-1", "WAIT", "done", RELEASE, {})
    files.full = False
    journal.append("d-1", "SWITCH", "intent", RELEASE, {})
    again = Journal(tmp_path / "journal.jsonl", Files())
    assert [record.stage for record in again.records] == ["WAIT", "SWITCH"] and again.damaged == []
    assert again.records == journal.records


def test_the_wall_clock_is_for_people_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", Files(), lambda: "1970-01-01T00:00:00.000+00:00")
    journal.append("d-1", "WAIT", "intent", RELEASE, {})
    assert Journal(tmp_path / "journal.jsonl", Files()).records == journal.records
    assert json.loads((tmp_path / "journal.jsonl").read_bytes())["wall"].startswith("1970")


def test_two_threads_write_whole_records_with_numbers_of_their_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", Files())

    def write(name: str) -> None:
        for _ in range(100):
            journal.append(name, "WAIT", "intent", RELEASE, {})

    threads = [threading.Thread(target=write, args=(name,)) for name in ("stage", "recovery")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Journal(tmp_path / "journal.jsonl", Files())
    assert again.damaged == [] and [record.seq for record in again.records] == list(range(1, 201))


def test_a_record_of_another_schema_is_refused_in_one_line_and_nothing_is_written_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, Files()).append("d-1", "CLAIM", "intent", RELEASE, {})
    fields = json.loads(path.read_bytes())
    del fields["crc"]
    later = {**fields, "schema": 2, "seq": 2}
    path.write_bytes(path.read_bytes() + dump({**later, "crc": _crc(later)}) + b"\n" + b'{"torn')
    before = path.read_bytes()

    journal = Journal(path, Files())

    assert journal.records == [] and journal.damaged == [] and journal.unreadable is not None
    with pytest.raises(IncompatibleError, match=r"schema 2, and this agent reads 1; install the agent") as refused:
        journal.append("d-2", "CLAIM", "intent", RELEASE, {})
    assert len(str(refused.value).splitlines()) == 1 and path.read_bytes() == before
