"""The command line, the socket's bounds, and the single file that robots get."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from model_registry.core.errors import HomeportError, IntegrityError
from model_registry.core.layout import Layout
from model_registry.core.version import version
from stack.agent import build
from stack.agent.__main__ import main
from stack.agent.api.server import _events
from stack.agent.change import rollback
from stack.agent.cli import client
from stack.agent.cli.parser import parser
from stack.agent.runtime import images
from stack.agent.runtime.process import unpack
from tests.fakes.rig import TOP, Rig
from tests.fakes.schemas import check

RELEASE = f"sha256:{'1' * 64}"
CLOCK = "it is heard, and its stamps are 80 ms ahead of this robot's clock; set `stamps = false`"
REFUSED: dict[str, object] = {
    "camera_front": {"fault": "future_stamp", "error": CLOCK},
    "void_reason": "camera_front_future_stamp",
}


def test_without_an_agent_there_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "status", "--json"]) == 1
    out, err = capsys.readouterr()
    check(json.loads(out), "agent", "reply")
    assert err.count("\n") == 1 and err.startswith("error: ") and "no agent serves here" in err


@pytest.mark.parametrize("argv", [["fly"], [], ["switch", "x", "--gate", "later"], ["stage", "pilot:1.0.0"]])
def test_a_wrong_call_is_a_usage_error(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--json", *argv]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 2


@pytest.mark.parametrize("argv", [["rollback"], ["switch", RELEASE, "--deadline", "0", "--probation", "0"]])
def test_a_client_waits_as_long_as_a_change_that_goes_well_may_take(argv: list[str], tmp_path: Path) -> None:
    layout, arguments = Layout.at(tmp_path), parser().parse_args(argv)
    slowest_s = rollback._WAIT_S + images._LOAD_S
    assert client.request(arguments, layout)[1] > slowest_s, "settings that nobody can read stop no rollback"
    layout.etc.mkdir()
    text = (TOP / "docs/examples/agent.toml").read_text()
    layout.agent_toml.write_text(text.replace("ready_s = 60.0", "ready_s = 700.0"))
    assert client.request(parser().parse_args(argv), layout)[1] > slowest_s + 2 * 700.0


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("rollback", "rollback: no answer within 0.2 s, and it may still be under way; ask `homeport-agent status`"),
        ("status", "no usable answer within 0.2 s, the agent hangs; restart it (systemctl restart homeport-agent)"),
    ],
)
def test_a_late_answer_to_a_change_is_not_called_an_agent_that_is_gone(verb: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
        busy.bind(str(path))
        busy.listen()
        with pytest.raises(HomeportError, match=re.escape(words)):
            client.ask(path, verb, b"{}\n", 0.2)
    with pytest.raises(HomeportError, match=r"no usable answer .*refused"):
        client.ask(path, verb, b"{}\n", 0.2)


def test_a_client_does_not_load_the_agent() -> None:
    program = "import sys, stack.agent.__main__ as agent; agent.parser(); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = {name for name in done.stdout.split() if name.startswith("stack.agent.")}
    rooms = {".".join(name.split(".")[2:3]) for name in loaded}
    assert rooms == {"__main__", "cli", "reports"}


def test_status_of_an_empty_robot_is_not_healthy(rig: Rig) -> None:
    answer = rig.run("status")
    assert answer.code == 3 and "no release was committed yet" in answer.stderr


def test_people_get_plain_lines(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.deploy(rig.publish("1.0.0"))
    assert main(["--root", str(rig.root), "status"]) == 0
    out = capsys.readouterr().out
    assert "robot-1: healthy" in out and "homeport/demo 1.0.0" in out


def test_hold_arm_and_reset_reach_the_supervisor(rig: Rig) -> None:
    for verb in ("hold", "unhold", "arm", "reset"):
        assert rig.run(verb).result["changed"]
    assert rig.supervisor.verbs() == ["hold", "unhold", "arm", "reset"]
    rig.supervisor.latched = ["estop"]
    refused = rig.run("arm")
    assert refused.code == 5 and "estop" in refused.message
    for request in rig.supervisor.requests:
        check(request, "operator" if request["verb"] in ("arm", "reset") else "control", "request")


def test_a_reset_that_forgets_buttons_that_are_gone_says_so_only_when_it_is_asked_to(rig: Rig) -> None:
    assert rig.run("reset").code == rig.run("reset", "--gone").code == 0
    assert [request.get("gone") for request in rig.supervisor.requests if request["verb"] == "reset"] == [None, True]
    for request in rig.supervisor.requests:
        check(request, "operator" if request["verb"] == "reset" else "control", "request")
    for argv in (["reset"], ["reset", "--gone"]):
        line, _ = client.request(parser().parse_args(argv), rig.layout)
        check(json.loads(line), "agent", "request")


def test_the_status_names_what_a_slot_does_not_use_and_what_the_supervisor_does_not_hear(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.deploy(rig.publish("1.0.0", REFUSED))
    assert rig.status()["unheard"] == []
    rig.supervisor.unheard = ["/safety/estop is published by /button as std_msgs/msg/Empty."]
    status = rig.status()
    assert status["slots"]["a"]["void_reason"] == "camera_front_future_stamp"
    assert status["slots"]["a"]["faults"] == {"camera_front": CLOCK} and status["unheard"] == rig.supervisor.unheard
    main(["--root", str(rig.root), "status"])
    out = capsys.readouterr().out
    assert (
        "says nothing: camera_front_future_stamp" in out
        and f"camera_front: {CLOCK}" in out
        and "not heard /safety/estop" in out
    )


def test_recovery_before_the_stack_ends_what_a_power_cut_left_open_and_never_beside_an_agent(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    argv = ["--root", str(rig.root), "recover"]
    assert main(argv) == 6
    rig.stop_agent(kill=True)

    assert main(argv) == 0

    last = rig.journal()[-1]
    assert (last["stage"], last["detail"]["recovered"], last["detail"]["failure"]["release"]) == ("FAILED", True, two)
    count = len(rig.journal())
    assert main(argv) == 0 and len(rig.journal()) == count


def test_the_doctor_names_the_lines_that_it_has(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(rig.root), "doctor", "--only", "settings", "wings"]) == 2
    assert "no line 'wings'; there are settings, l4t, " in capsys.readouterr().err


def test_the_doctor_looks_at_the_lines_that_are_asked_for(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(rig.root), "--json", "doctor", "--only", "settings", "keys"]) == 0
    document = json.loads(capsys.readouterr().out)
    check(document, "agent", "reply")
    assert [line["check"] for line in document["result"]["checks"]] == ["settings", "keys"]


@pytest.mark.parametrize(
    "line", [b"x" * 70_000 + b"\n", b"nonsense\n", b"[]\n", b'{"v":2,"verb":"status"}\n', b'{"v":1,"verb":"fly"}\n']
)
def test_a_bad_line_gets_an_error_and_the_agent_goes_on(rig: Rig, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(rig.layout.agent_socket))
        connection.sendall(line)
        reply = json.loads(connection.makefile("rb").readline())
    check(reply, "agent", "reply")
    assert reply["error"]["code"] == 2
    assert "result" in rig.run("status").document


def test_a_second_agent_on_the_same_root_is_locked_out(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(["python3", build_to(rig.root), "--root", rig.root, "serve"], capture_output=True, text=True)
    assert done.returncode == 6 and "serve by pid" in done.stderr


def build_to(folder: Path) -> Path:
    out = folder / "homeport-agent"
    assert build.main(["--out", str(out)]) == 0
    return out


def pythons() -> list[str]:
    """The system's interpreter and any other supported one on this machine."""
    home = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [str(path) for path in sorted(home.glob("versions/3.1[0-3].*/bin/python3"))]
    return ["/usr/bin/python3", *found] if Path("/usr/bin/python3").exists() else found or [sys.executable]


@pytest.mark.parametrize("python", pythons())
def test_the_single_file_runs_under_any_supported_python(python: str, rig: Rig) -> None:
    rig.stop_agent()
    file = build_to(rig.root)
    assert file.stat().st_mode & stat.S_IXUSR
    run = subprocess.run([python, "-I", "-S", file, "--version"], capture_output=True, text=True, timeout=30)
    assert run.stdout.strip() == version(), run.stderr
    served = subprocess.Popen([python, "-I", "-S", file, "--root", rig.root, "serve"], stderr=subprocess.PIPE)
    try:
        rig.until(lambda: rig.layout.agent_socket.exists() and "result" in rig.run("status").document, "it serves")
        assert rig.deploy(rig.publish("1.0.0")).code == 0
    finally:
        served.terminate()
        served.communicate(timeout=10)


def test_the_single_file_is_the_same_each_time() -> None:
    assert build.archive() == build.archive()


@pytest.mark.parametrize(("name", "mode"), [("../x", 0), ("/x", 0), ("a/../../x", 0), ("link", stat.S_IFLNK | 0o777)])
def test_a_wheel_that_leads_outside_is_refused(name: str, mode: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"x")
    (tmp_path / "image.whl").write_bytes(buffer.getvalue())
    with pytest.raises(IntegrityError, match="refuses to unpack"):
        unpack(tmp_path / "image.whl", tmp_path / "site")
    assert not (tmp_path / "site").exists()


class Deaf:
    """A connection whose client does not read."""

    def __init__(self) -> None:
        self.waited = 0
        self.open = True

    def sendall(self, data: bytes) -> None:
        if not self.open:
            raise BrokenPipeError
        self.waited += 1
        raise TimeoutError

    def shutdown(self, how: int) -> None:
        self.open = False


def test_a_client_that_does_not_read_holds_a_change_up_once() -> None:
    deaf = Deaf()
    say = _events(deaf)  # type: ignore[arg-type]
    for number in range(100):
        say("BUILD", f"{number} %")
    assert deaf.waited == 1
