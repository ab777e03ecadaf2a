"""What others wrote is shown with every character that nobody would see as an escape, in messages, tables and logs."""

from __future__ import annotations

import copy
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homeport.fleet.plugins.filter.toml import key, toml
from model_registry.core import dsse
from model_registry.core.channel import ChannelRecord
from model_registry.core.contract import Contract
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.gate import GateResult
from model_registry.core.logs import LineFormatter
from model_registry.core.release import Release
from model_registry.core.robot import Robot
from model_registry.core.visible import visible, visible_json, visible_lines
from model_registry.manifests import Manifest
from model_registry.packing import pack
from model_registry.releasing import Draft
from model_registry.sources import open_source
from stack.agent.disk import journal
from stack.agent.gate.samples import SlotStatus
from stack.agent.settings.config import Config
from stack.cli.history import Run
from stack.supervisor import latch
from tests.fakes.model import NAME, contract, make_model
from tests.fakes.unseen import CHARACTERS, HALVES, SEEN, groups, unseen
from tests.unit.cli.test_history import GATE
from tests.unit.model_registry.test_documents import RELEASE, places

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "docs" / "examples"
Kind = tuple[dict[str, Any], Callable[[dict[str, Any]], object]]


@given(st.text() | st.text(st.sampled_from(CHARACTERS + HALVES)))
def test_a_text_becomes_one_line_of_characters_that_one_sees(text: str) -> None:
    shown = visible(text)
    assert unseen(shown) == [] and "\n" not in shown and visible(shown) == shown
    assert visible_lines(text).count("\n") == text.count("\n")


def test_every_letter_that_one_sees_stays_and_every_other_character_says_which_it_was() -> None:
    assert visible(SEEN) == SEEN
    for character in CHARACTERS + HALVES:
        shown = visible(f"a{character}b")
        assert shown[1:-1].encode().decode("unicode_escape") == character and shown.isascii()


@given(st.dictionaries(st.text(), st.text() | st.text(st.sampled_from(CHARACTERS))))
def test_json_stays_json(value: dict[str, str]) -> None:
    text = visible_json(value)
    assert json.loads(text) == value and unseen(text) == [] and "\n" not in text


@pytest.mark.parametrize("half", HALVES)
def test_half_a_character_is_in_no_document(half: str) -> None:
    for value in ({half: 1}, {"key": [half]}):
        with pytest.raises(UsageError, match="not a valid JSON document"):
            parse(json.dumps(value).encode(), "document")


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def toml_text(document: dict[str, Any]) -> str:
    """A document as TOML, by the filter that writes the settings of robots."""
    return "".join(f"{key(name)} = {toml(value)}\n" for name, value in document.items())


def kinds(folder: Path) -> Iterator[tuple[str, Kind]]:
    """Every kind of document with an example that is right, and what reads it."""
    _, digest = pack(make_model(folder / "m", size=1000), source := open_source(f"oci:{folder / 'l'}", writable=True))
    path = folder / "document"

    def from_file(load: Callable[[Path], object]) -> Callable[[dict[str, Any]], object]:
        def read(document: dict[str, Any]) -> object:
            path.write_bytes(encoded(document))
            return load(path)

        return read

    def from_toml(load: Callable[[Path], object]) -> Callable[[dict[str, Any]], object]:
        def read(document: dict[str, Any]) -> object:
            path.write_text(toml_text(document))
            return load(path)

        return read

    def line(document: dict[str, Any]) -> object:
        return journal.decode(encoded({**document, "crc": journal._crc(document)}))

    signature = {"keyid": "a" * 64, "sig": "AAAA"}
    envelope = {"payload": "e30=", "payloadType": "application/x", "signatures": [signature]}
    slot: dict[str, Any] = {"pid": 1, "start_ticks": 1, "release": "r", "model": "m", "engine": None, "image": None}
    slot |= {"state": "ready", "error": None, "control_hz": 1.0, "missed": 0, "inferences": 0, "clamped": 0}
    slot |= {"non_finite": 0, "memory_bytes": 1, "monotonic_ns": 1, "sources": {"camera_front": {"age_ms": 1.0}}}
    told = {"schema": 1, "kind": "deploy", "began": "2026-11-30T22:31:04+00:00", "ended": None, "asked": {}}
    told |= {"who": {"user": "ann", "host": "c", "folder": "/"}, "outcome": {"summary": "1", "hosts": {"h": {}}}}
    step = {
        "schema": 1,
        "seq": 1,
        "deployment": "d",
        "stage": "FETCH",
        "phase": "done",
        "release": None,
        "detail": {},
        "wall": "",
    }
    yield "release", (RELEASE, lambda document: Release.parse(encoded(document)))
    yield "contract", (contract(folder / "m"), lambda document: Contract.parse(encoded(document)))
    manifest = json.loads(source.manifest(NAME, digest))
    yield "manifest", (manifest, lambda document: Manifest.parse(encoded(document), "manifest"))
    channel = json.loads((EXAMPLES / "channel.json").read_bytes())
    yield "channel", (channel, lambda document: ChannelRecord.parse(encoded(document)))
    yield "envelope", (envelope, lambda document: dsse.verify(encoded(document), "application/x", (), "envelope"))
    yield "gate", (GATE, lambda document: GateResult.read(Reader(parse(encoded(document), "gate"), "gate")))
    yield "journal", (step, line)
    yield "slot", (slot, lambda document: SlotStatus.read(Reader(parse(encoded(document), "slot"), "slot")))
    yield "latch", ({"schema": 1, "latched": ["estop"]}, from_file(latch.read))
    yield "record", (told, from_file(Run.load))
    for name, load_it in (("robot", Robot.load), ("agent", Config.load), ("release", Draft.load)):
        yield f"{name}.toml", (tomllib.loads((EXAMPLES / f"{name}.toml").read_text()), from_toml(load_it))


def changed(document: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """The document with `text` as the value of every place in turn, and as a new key of every object."""
    for path in places(document):
        fresh = copy.deepcopy(document)
        if path:
            at(fresh, path[:-1])[path[-1]] = text
            yield fresh
        if isinstance(at(document, path), dict):
            longer = copy.deepcopy(document)
            at(longer, path)[text] = text
            yield longer


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at this place of a document."""
    for step in path:
        document = document[step]
    return document


def test_whatever_a_document_holds_its_refusal_is_one_line_that_one_sees(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused: dict[str, int] = {}
    for name, (document, read) in kinds(tmp_path):
        if name != "envelope":  # nobody has signed it
            read(document)
        for text in groups(24):
            for fresh in changed(document, text):
                try:
                    read(fresh)
                except HomeportError as error:
                    refused[name] = refused.get(name, 0) + ("\\x1b[31m" in str(error))
                    assert unseen(str(error)) == [] and "\n" not in str(error), (name, ascii(str(error)))
    assert {name for name, _ in kinds(tmp_path / "again")} - {"latch"} == {
        name for name, count in refused.items() if count
    }
    assert caplog.records, "a latch that cannot be read is told in the log"
    shown = [LineFormatter("%(message)s").format(each) for each in caplog.records]
    assert [unseen(each) for each in shown if unseen(each) or "\n" in each] == []


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_record_of_the_log_is_one_line_and_a_traceback_is_indented() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    forged = f"x{CHARACTERS}{HALVES}\nERROR forged"
    try:
        fail(forged)
    except ValueError:
        log.exception("failed: %s", forged)
    first, *others = stream.getvalue().splitlines()
    assert unseen(stream.getvalue()) == [] and first.startswith("ERROR failed: x\\x00")
    assert others and all(line.startswith("  ") for line in others)


def test_the_log_of_a_process_shows_what_libraries_write_as_well() -> None:
    program = (
        "import logging, os\nfrom stack.supervisor.logs import Logs\nlogs = Logs()\nlogs.start()\n"
        f"text = {CHARACTERS!r} + {SEEN!r}\n"
        "try:\n    raise ValueError(text)\nexcept ValueError:\n    logging.exception(text)\n"
        "os.write(1, b'library ' + text.encode() + bytes([255]) + b'\\n')\nlogs.end(5.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, timeout=30, check=True)
    said = done.stderr.decode()
    assert unseen(said) == [] and said.count(SEEN) == 3 and "\\udcff\n" in said
