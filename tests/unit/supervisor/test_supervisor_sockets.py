"""The sockets against clients that are rude, slow, many or broken."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from model_registry.core import lines
from model_registry.core.errors import HomeportError, LockedError, RefusedError, UsageError
from stack.supervisor.places import MAX_CONNECTIONS
from stack.supervisor.requests import CONTROL, OPERATOR, Request, Tickets
from stack.supervisor.sockets import SocketServer
from tests.fakes.ros import wait_until
from tests.fakes.schemas import check

CROWD = Path(__file__).parents[2] / "testbed" / "crowd.py"


class Desk:
    """A server whose requests are answered at once with their own text; `arm` is refused, `estop` never answered."""

    def __init__(self, folder, patience_s=5.0):
        self.paths = {CONTROL: folder / "control" / "c.sock", OPERATOR: folder / "operator" / "o.sock"}
        self.server = SocketServer(self.paths, self.answer, patience_s)
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()

    def answer(self, ticket):
        if ticket.request == Request("arm"):
            ticket.answer(RefusedError("arm refused: scan_stale"))
        elif ticket.request != Request("estop"):
            ticket.answer({"request": repr(ticket.request)})

    def call(self, endpoint=CONTROL):
        return lines.call(self.paths[endpoint], lines.request("status"), 3.0)

    def connect(self, endpoint=CONTROL):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(5.0)
        client.connect(str(self.paths[endpoint]))
        return client


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def desk(folder):
    desk = Desk(folder)
    yield desk
    desk.server.stop()
    desk.thread.join(3.0)


def read_line(client):
    data = b""
    while not data.endswith(b"\n"):
        piece = client.recv(65_536)
        if not piece:
            return None
        data += piece
    return json.loads(data)


def test_a_request_is_answered(desk):
    assert "status" in desk.call()["request"]


def test_a_refusal_keeps_its_exit_code_and_fits_the_schema(desk):
    with desk.connect(OPERATOR) as client:
        client.sendall(lines.request("arm"))
        reply = read_line(client)
    assert reply["error"]["code"] == RefusedError.exit_code
    check(reply, "operator", "reply")


def test_sockets_and_their_folders_are_closed_to_others(desk):
    for path in desk.paths.values():
        assert path.stat().st_mode & 0o777 == 0o660
        assert path.parent.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("endpoint", "line"),
    [
        (CONTROL, b"not json\n"),
        (CONTROL, b"\n"),
        (CONTROL, b"[]\n"),
        (CONTROL, b'{"v":1,"verb":"status","verb":"status"}\n'),
        (CONTROL, b'{"v":2,"verb":"status"}\n'),
        (CONTROL, lines.request("arm")),
        (CONTROL, lines.request("status", more=1)),
        (CONTROL, lines.request("select", slot="c", release="sha256:" + "0" * 64, probation_s=1, fallback=None)),
        (CONTROL, lines.request("select", slot="a", release="latest", probation_s=1, fallback=None)),
        (CONTROL, lines.request("select", slot="a", release="sha256:" + "0" * 64, probation_s=-1, fallback=None)),
        (CONTROL, lines.request("hold", owner="x" * 65, reason="y")),
        (CONTROL, lines.request("hold", owner="x\n", reason="y")),
        (OPERATOR, lines.request("hold", owner="x", reason="y")),
    ],
)
def test_a_bad_request_gets_one_clear_error(desk, endpoint, line):
    with desk.connect(endpoint) as client:
        client.sendall(line)
        reply = read_line(client)
    assert reply["error"]["code"] == UsageError.exit_code
    check(reply, endpoint, "reply")
    assert desk.call()


def test_a_line_without_an_end_is_cut_off(desk):
    with desk.connect() as client:
        with suppress(OSError):  # It may hang up on us in the middle.
            client.sendall(b"x" * 100_000)
        assert "longer than" in str(read_line(client))
    assert desk.call()


def test_fifty_connections_leave_room_for_the_operator_and_go_away_by_themselves(folder):
    desk = Desk(folder, patience_s=0.5)
    clients = [desk.connect() for _ in range(MAX_CONNECTIONS)]
    clients += [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(42)]
    for client in clients[MAX_CONNECTIONS:]:
        client.setblocking(False)
        client.connect_ex(str(desk.paths[CONTROL]))
    assert desk.call(endpoint=OPERATOR)
    deadline = time.monotonic() + 5.0
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = desk.call()
        except HomeportError:
            continue
    for client in clients:
        client.close()
    desk.server.stop()
    desk.thread.join(3.0)
    assert answer


class OperatorsDesk(Desk):
    """Answers as the tick thread does: every 20 ms, and everything that waits then."""

    def __init__(self, folder):
        self.tickets = Tickets()
        self.ending = threading.Event()
        self.ticking = threading.Thread(target=self._tick, daemon=True)
        super().__init__(folder)
        self.ticking.start()

    def answer(self, ticket):
        self.tickets.append(ticket)

    def _tick(self):
        while not self.ending.wait(0.02):
            due = self.tickets.take()
            for ticket in (*due.operator, *due.changes, *due.status):
                ticket.answer({"verb": ticket.request.verb, "padding": "x" * 3000})

    def operate(self, verb):
        return lines.call(self.paths[OPERATOR], lines.request(verb), 2.0)["verb"]


@pytest.fixture
def operators_desk(folder):
    desk = OperatorsDesk(folder)
    yield desk
    desk.ending.set()
    desk.ticking.join(3.0)
    desk.server.stop()
    desk.thread.join(3.0)


@contextmanager
def crowded(path, *kinds):
    """Programs that crowd a socket, one a kind that is named."""
    programs = []
    try:
        for kind in kinds:
            programs.append(subprocess.Popen([sys.executable, str(CROWD), kind, str(path)], stdout=subprocess.PIPE))
        for program in programs:
            assert program.stdout.readline() == b"here\n"
        yield
        assert all(program.poll() is None for program in programs)
    finally:
        for program in programs:
            program.kill()
            program.communicate(timeout=5.0)


@pytest.mark.parametrize(
    "kinds",
    [
        ["poll"] * 8,
        ["silent"],
        ["silent"] * 4,
        ["half"] * 2,
        ["reconnect"] * 8,
        ["knock"] * 4,
        ["silent", "half", "poll", "reconnect", "knock"],
    ],
    ids="+".join,
)
def test_an_operator_always_gets_in(operators_desk, kinds):
    with crowded(operators_desk.paths[OPERATOR], *kinds):
        for _ in range(10):  # each call has two seconds
            assert operators_desk.operate("estop") == "estop"
            assert operators_desk.operate("reset") == "reset"
    assert operators_desk.thread.is_alive()


def test_who_polls_gives_its_place_and_who_waits_for_a_change_does_not(folder):
    desk = OperatorsDesk(folder)  # it does not tick before it is started again
    desk.ending.set()
    desk.ticking.join(3.0)
    held = [desk.connect() for _ in range(MAX_CONNECTIONS - 1)]
    for client in held:
        client.sendall(lines.request("hold", owner="x", reason="y"))
    polling = desk.connect()
    polling.sendall(lines.request("status"))
    wait_until(lambda: len(desk.server.clients) == MAX_CONNECTIONS, 5.0, "every place to be taken")
    late = desk.connect()
    late.sendall(lines.request("status"))
    assert polling.recv(100) == b""
    for client in held:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
    for client in (*held, polling, late):
        client.close()
    desk.server.stop()
    desk.thread.join(3.0)


@pytest.mark.parametrize(
    "answer",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": "\ud800"}, {"x": {1, 2}}, {"x": "y" * lines.MAX_REPLY_BYTES}],
    ids=["nan", "infinity", "surrogate", "no JSON type", "too long"],
)
def test_an_answer_that_cannot_be_written_is_an_error_that_says_so(folder, answer):
    path = folder / "odd" / "c.sock"
    server = SocketServer({CONTROL: path}, lambda ticket: ticket.answer(answer))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    with pytest.raises(HomeportError, match="the reply"):
        lines.call(path, lines.request("status"), 3.0)
    server.stop()
    thread.join(3.0)


def test_a_client_that_does_not_finish_its_line_is_dropped(folder):
    desk = Desk(folder, patience_s=0.2)
    with desk.connect() as client:
        client.sendall(b'{"v":1,')
        assert client.recv(100) == b""
    desk.server.stop()
    desk.thread.join(3.0)


def test_a_client_that_leaves_before_the_answer_hurts_nobody(desk):
    for _ in range(3 * MAX_CONNECTIONS):
        with desk.connect() as client:
            client.sendall(lines.request("status"))
    assert desk.call()


def test_requests_in_one_piece_are_answered_one_by_one(desk):
    with desk.connect() as client:
        client.sendall(lines.request("status") * 3)
        received = b""
        while received.count(b"\n") < 3:
            received += client.recv(4096)
    assert received.count(b'"ok":true') == 3


def test_a_second_server_on_the_same_path_is_refused_and_a_dead_socket_is_replaced(folder, desk):
    with pytest.raises(LockedError):
        SocketServer(desk.paths, desk.answer)
    left = folder / "left" / "c.sock"
    left.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(left))
    SocketServer({CONTROL: left}, desk.answer).close()


AS_SUPERVISOR = """
import os, sys
from pathlib import Path
from stack.supervisor.requests import CONTROL
from stack.supervisor.sockets import SocketServer
os.setgroups([]), os.setgid(10002), os.setuid(10002)
try:
    server = SocketServer({CONTROL: Path(sys.argv[1])}, lambda ticket: ticket.answer({"here": os.getuid()}))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
print("listening", flush=True)
server.serve()
"""
AS_CLIENT = """
import os, socket, sys
path, uid, gid, *groups = sys.argv[1:]
client = socket.socket(socket.AF_UNIX)
os.setgroups([int(group) for group in groups]), os.setgid(int(gid)), os.setuid(int(uid))
try:
    client.connect(path)
except PermissionError:
    sys.exit("kernel")
client.sendall(b'{"v":1,"verb":"status"}\\n')
print(client.recv(4096).decode())
"""
AGENT_GROUP = 10077


@pytest.fixture
def control():
    """A socket folder as the role makes it: owned by 10002, and setgid for the agents' group."""
    if os.getuid() != 0:
        pytest.skip("needs root: it starts programs under other user ids")
    with TemporaryDirectory(prefix="homeport-") as folder:  # pytest's own folders are closed to other users
        path = Path(folder) / "control" / "control.sock"
        path.parent.mkdir()
        path.parents[1].chmod(0o755)
        os.chown(path.parent, 10002, AGENT_GROUP)
        path.parent.chmod(0o2750)
        yield path


@contextmanager
def supervisor_at(path):
    argv = [sys.executable, "-c", AS_SUPERVISOR, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def ask_as(path, uid, *groups):
    argv = [sys.executable, "-c", AS_CLIENT, str(path), str(uid), *map(str, groups)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    return done.stderr.strip() or json.loads(done.stdout)


def test_without_root_the_socket_has_its_folders_group_and_only_its_members_may(control):
    with supervisor_at(control) as process:
        assert process.stdout.readline() == "listening\n", process.stderr.read()
        found = control.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (10002, AGENT_GROUP, 0o660)
        assert ask_as(control, 0, 0)["result"] == {"here": 10002}
        assert ask_as(control, 10055, AGENT_GROUP)["ok"]
        assert ask_as(control, 10055, 10055, 5, AGENT_GROUP)["ok"]
        assert ask_as(control, 10055, 10055) == "kernel"
        # Someone opened it for all: the supervisor still looks who asks.
        control.parent.chmod(0o2755)
        control.chmod(0o666)
        refused = ask_as(control, 10055, 10055, 5)["error"]
        assert (refused["code"], f"group {AGENT_GROUP}" in refused["message"]) == (RefusedError.exit_code, True)
        process.terminate()
        assert "Refused pid" in process.stderr.read()


def test_a_folder_that_keeps_its_group_to_itself_is_named_with_the_fix(control):
    control.parent.chmod(0o750)
    with supervisor_at(control) as process:
        error = process.stderr.read()
    assert "UsageError" in error and "chmod g+s" in error
    assert not control.exists()
