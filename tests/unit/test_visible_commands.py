"""Commands print records, answers and statuses line by line, whatever is written in them."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_registry.cli.entry import run
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from stack.agent.__main__ import main
from stack.agent.cli.output import status_lines
from stack.cli import build
from tests.fakes.unseen import CHARACTERS, HALVES, SEEN, unseen
from tests.unit.cli.test_history import FAILURE, GATE, HOST, record

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DIGEST = f"sha256:{'1' * 64}"
BAD = CHARACTERS + HALVES + SEEN
RELEASE = {"digest": BAD, "name": BAD, "version": BAD, "counter": 1}
SLOT = {
    "release": BAD,
    "pid": 1,
    "state": BAD,
    "verified": True,
    "void_reason": BAD,
    "faults": {BAD: BAD},
    "processor": BAD,
}
FAILED = {"release": BAD, "stage": BAD, "message": BAD, "metric": BAD, "value": 1.0, "threshold": None}
STATUS: dict[str, Any] = {
    "name": BAD,
    "stage": BAD,
    "healthy": False,
    "problems": [BAD, BAD],
    **dict.fromkeys(("running", "current", "previous", "fallback"), RELEASE),
    "slots": {"a": SLOT, "b": SLOT},
    "supervisor": BAD,
    "motion": {"state": BAD, "armed": True, "held": [{"owner": BAD, "reason": BAD}], "stopped_by": [BAD]},
    "disk": {"folder": BAD, "free_bytes": 1, "shortage": BAD},
    "engine": {"alive": False, "trouble": BAD},
    "clock": {"stands": BAD, "doubt": BAD},
    "way_back": {"release": BAD, "reason": BAD},
    "unheard": [BAD],
    "wait": {"gate": BAD, "for": [BAD], "lease_s": None},
    "window": {"open": True, "next": BAD, "reason": BAD},
    "failure": FAILED,
    "restore_failure": FAILED,
    "log": [BAD, BAD],
}
STAGED = {"verb": "stage", "version": BAD, "plan": None, "changed": True, "removed": [], "stage": BAD}
STAGED |= {"seconds": 1.0, "bytes_fetched": 1, "engines_built": 0}
PLANNED = STAGED | {
    "plan": {"steps": [BAD], "engine_build": True, "window": {"open": False, "next": BAD, "reason": BAD}}
}
PRUNED = STAGED | {"verb": "prune", "removed": [{"kind": BAD, "name": BAD, "bytes": 1}], "bytes_freed": 1}
STAGE = ["stage", DIGEST, "--repository", "releases/pilot"]


def test_a_history_is_shown_line_by_line_whatever_its_records_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = CHARACTERS + SEEN
    (tmp_path / "rollouts").mkdir()
    failure = FAILURE | {"message": bad, "stage": bad}
    running = {"digest": f"sha256:{bad}", "name": bad, "version": bad, "counter": 1}
    checks = [{"metric": bad, "value": 1.0, "threshold": None, "ok": False, "text": bad}]
    host = HOST | {"story": bad, "ok": False, "failure": failure, "running": running}
    host |= {"gates": [GATE | {"gate": bad, "verdict": bad, "checks": checks}]}
    record(tmp_path, "a", who={"user": bad, "host": bad, "folder": bad}, asked={"to": bad, "robots": [bad]})
    path = tmp_path / "rollouts" / "a.json"
    fields = json.loads(path.read_text()) | {"outcome": {"summary": bad, "hosts": {bad: host}}}
    path.write_text(json.dumps(fields))
    (tmp_path / "rollouts" / "b.json").write_text(json.dumps({bad: 1, "schema": bad}))
    lines = []
    for words in ([], ["a"], ["a", "--json"], [bad]):
        arguments = ["fleet", "history", str(tmp_path), *words]
        run(build(arguments), arguments)
        out, err = capsys.readouterr()
        assert unseen(out + err) == []
        lines.append((out.count("\n"), err.count("\n")))
    assert lines == [(3, 0), (9, 0), (1, 0), (0, 1)]


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Layout]:
    """A robot whose agent somebody else plays."""
    layout = Layout.at(tmp_path)
    layout.agent_socket.parent.mkdir(parents=True)
    yield layout
    shutil.rmtree(layout.run, ignore_errors=True)


def ask(robot: Layout, root: Path, words: list[str], reply: dict[str, Any]) -> None:
    """Run the agent's command line against one that tells one event and then gives this reply."""
    event = {"v": 1, "event": {"stage": BAD, "text": BAD}}

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.makefile("rb").readline()
            connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in (event, reply)))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(robot.agent_socket))
        listener.listen()
        speaker = threading.Thread(target=speak, daemon=True)
        speaker.start()
        main(["--root", str(root), *words])
        speaker.join(10)


@pytest.mark.parametrize(
    ("words", "result", "told", "printed"),
    [
        (["status"], STATUS, 3, len(status_lines(STATUS))),
        (STAGE, STAGED, 1, 1),
        (STAGE, PLANNED, 1, 1),
        (["prune"], PRUNED, 1, 2),
    ],
)
def test_a_client_shows_line_by_line_whatever_an_agent_says(
    words: list[str],
    result: dict[str, Any],
    told: int,
    printed: int,
    robot: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask(robot, tmp_path, words, {"v": 1, "ok": True, "result": result})
    out, err = capsys.readouterr()
    assert unseen(out + err) == [] and SEEN in err and out.strip()
    assert (out.count("\n"), err.count("\n")) == (printed, told)


@pytest.mark.parametrize("ok", [True, False])
def test_what_a_client_prints_as_json_is_json_that_says_the_same(
    ok: bool, robot: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {"v": 1, "ok": False, "error": {"code": 5, "message": BAD}}
    ask(robot, tmp_path, ["--json", "status"], {"v": 1, "ok": True, "result": STATUS} if ok else refusal)
    out, err = capsys.readouterr()
    assert unseen(out + err) == [] and out.count("\n") == 1
    document = json.loads(out)
    assert document["result"] == STATUS if ok else document["error"]["message"] == str(HomeportError(BAD))


def test_the_doctor_shows_line_by_line_what_is_wrong_with_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout.at(tmp_path)
    layout.etc.mkdir()
    bad = "".join(f"\\u{ord(each):04x}" for each in CHARACTERS if ord(each) < 0x10000)
    layout.robot_toml.write_text(f'"{bad}" = 1\n{(EXAMPLES / "robot.toml").read_text()}')
    layout.agent_toml.write_text(f'runtime = "{bad}"\n')
    for style in ([], ["--json"]):
        main(["--root", str(tmp_path), *style, "doctor", "--only", "settings", "keys"])
        out, err = capsys.readouterr()
        assert unseen(out + err) == [] and "\\x1b" in out
        assert out.count("\n") == (1 if style else 2)
