"""`homeport-agent`: `serve` is the agent, the other verbs are clients of its socket, and `doctor` needs none.

Progress on stderr, the result on stdout.

What only the agent itself needs is imported where it begins: a client that asks for a rollback should not read all of
it first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

from model_registry.core import lines
from model_registry.core.digest import Digest
from model_registry.core.errors import DriftError, HomeportError, NotFoundError, RefusedError, UsageError
from model_registry.core.examples import examples
from model_registry.core.layout import SLOTS, Layout, linked_release
from model_registry.core.version import version
from model_registry.core.visible import visible, visible_json, visible_lines
from stack.agent.examples import EXAMPLES
from stack.agent.output import page, status_lines, summary
from stack.agent.reports import GATES

_STAGE_S = 7200.0
_QUICK_S = 60.0
_CHANGES = ("stage", "switch", "commit", "rollback", "prune")
_PLAIN = {
    "serve": "be the agent of this robot",
    "status": "what runs here, and whether it is healthy (exit 3 when not)",
    "unhold": "give back what hold and drain took",
    "arm": "let the robot move",
    "recover": "end what a power cut has left open, before anything starts (for its systemd unit only)",
}
"""Verbs without options."""


class _Parser(argparse.ArgumentParser):
    """argparse that ends in our one error form instead of its own."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Every verb and option; --root and --json may stand on either side of the verb."""
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--root", type=Path, help="robot root instead of /var/lib/homeport")
    shared.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    style: dict[str, Any] = {"parents": [shared], "formatter_class": argparse.RawDescriptionHelpFormatter}
    top = _Parser(prog="homeport-agent", description=__doc__, epilog=examples(EXAMPLES[""]), **style)
    top.add_argument("--version", action="version", version=version())
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, text: str, *more: _Parser) -> argparse.ArgumentParser:
        own = style | {"parents": [shared, *more]}
        return verbs.add_parser(name, help=text, description=text, epilog=examples(EXAMPLES[name]), **own)

    release, robot, asker = _Parser(add_help=False), _Parser(add_help=False), _Parser(add_help=False)
    digest: dict[str, Any] = {"type": lambda text: str(Digest.parse(text, "release")), "help": "sha256:<64 hex>"}
    release.add_argument("release", **digest)
    robot.add_argument("--gate", choices=GATES, default="idle")
    robot.add_argument("--now", action="store_true", help="ask neither window nor hook; zero speed comes first")
    asker.add_argument("--by", metavar="WHO", help="who asks, for others who find the robot locked")
    for name, text in _PLAIN.items():
        verb(name, text)
    _add_changes(verb, release, robot, asker)
    verb("pin", "make a committed release the fallback").add_argument("release", nargs="?", **digest)
    prune = verb("prune", "remove what neither current, previous, fallback nor a slot needs")
    prune.add_argument("--dry-run", action="store_true", help="print what would be removed")
    reset = verb("reset", "clear latched reasons")
    # An older supervisor does not know it: it is sent only when it is asked for.
    gone = "also forget e-stop buttons whose publisher vanished while pressed"
    reset.add_argument("--gone", action="store_true", default=argparse.SUPPRESS, help=gone)
    for name, text in (("hold", "command zero speed"), ("drain", "command zero speed and wait until the robot stands")):
        verb(name, text).add_argument("--reason", default="asked by an operator")
    doctor = verb("doctor", "is this robot set up as releases need it (exit 3 when not); needs no agent")
    doctor.add_argument("--only", nargs="+", default=(), help="these lines of it", metavar="LINE")
    run = verb("run-slot", "become the container of a slot (for its systemd unit only)")
    run.add_argument("slot", choices=SLOTS)
    return top


def _add_changes(
    verb: Callable[..., argparse.ArgumentParser], release: _Parser, robot: _Parser, asker: _Parser
) -> None:
    """The verbs that bring a release to the wheel, or back."""
    seconds: dict[str, Any] = {"type": float, "metavar": "S"}
    stage = verb("stage", "fetch, verify, build and prove a release beside what drives", release, asker)
    stage.add_argument("--source", help="where from, such as oci:/srv/registry")
    stage.add_argument("--repository", help="such as releases/pilot")
    stage.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    stage.add_argument(
        "--channel-record", metavar="FILE", help="signed record whose revocations the robot keeps; - is stdin"
    )
    stage.add_argument("--retry", action="store_true", help="take a release out of quarantine")
    switch = verb("switch", "let a staged release drive, on probation, then commit it", release, robot, asker)
    switch.add_argument("--commit", choices=("auto", "wait"), default="auto")
    switch.add_argument("--deadline", dest="deadline_s", default=120.0, help="wait for robot and commit", **seconds)
    switch.add_argument("--probation", dest="probation_s", help="seconds it drives before the commit", **seconds)
    verb("commit", "make the release on probation permanent", release, asker)
    rollback = verb("rollback", "bring back a release that this robot committed before", robot, asker)
    rollback.add_argument("--to", default="previous", help="previous, fallback or sha256:<64 hex>")
    undo = "as if what drives had never been committed: `previous` is again what it was before"
    rollback.add_argument("--undo", action="store_true", help=undo)


def request(arguments: argparse.Namespace, layout: Layout) -> tuple[bytes, float]:
    """The request line of a verb, whose fields are its options, and how long its answer may take (s)."""
    fields = {key: value for key, value in vars(arguments).items() if key not in ("verb", "root", "json")}
    timeout_s = _QUICK_S
    if arguments.verb in _CHANGES:
        from stack.agent.config import Config, change_s

        timeout_s = _STAGE_S if arguments.verb == "stage" else change_s(layout.agent_toml)
    if arguments.verb == "stage":
        fields["repository"] = arguments.repository or Config.load(layout.agent_toml).repository
        if (record := fields.pop("channel_record")) is not None:
            data = sys.stdin.buffer.read() if record == "-" else Path(record).read_bytes()
            fields["channel_record"] = data.decode(errors="replace")
    if arguments.verb == "switch":
        if arguments.probation_s is None:
            fields["probation_s"] = Config.load(layout.agent_toml).gate.probation_s
        timeout_s += fields["deadline_s"] + fields["probation_s"]
    return lines.request(arguments.verb, **fields), timeout_s


def ask(path: Path, verb: str, line: bytes, timeout_s: float) -> dict[str, Any]:
    """The agent's answer. Raises HomeportError; what it does goes on when nobody waits any more."""
    try:
        return lines.call(path, line, timeout_s, lambda _, text: _say(text))
    except lines.LateError as error:
        if verb not in _CHANGES:
            text = f"no usable answer within {timeout_s:g} s, the agent hangs; restart it (systemctl restart homeport-agent)"
            raise HomeportError(f"{path}: {text}") from error
        text = f"no answer within {timeout_s:g} s, and it may still be under way; ask `homeport-agent status`"
        raise HomeportError(f"{verb}: {text}") from error


def _client(arguments: argparse.Namespace, layout: Layout, as_json: bool) -> int:
    line, timeout_s = request(arguments, layout)
    if not layout.agent_socket.exists():
        raise HomeportError(
            f"{layout.agent_socket}: no agent serves here; start it (systemctl start homeport-agent) or check --root"
        )
    result = ask(layout.agent_socket, arguments.verb, line, timeout_s)
    status = arguments.verb == "status"
    if as_json:
        _print(visible_json({"v": 1, "ok": True, "result": result}))
    else:
        _print(page(status_lines(result)) if status else summary(result))
    return _verdict(result) if status else 0


def _verdict(status: Mapping[str, Any]) -> int:
    """The exit code of a status, after a sentence on stderr for each reason that it is not 0."""
    stuck = status["way_back"]["reason"]
    if status["healthy"] is not True:
        _say(f"not healthy: {'; '.join(status['problems'])}")
    if stuck is not None:
        _say(f"could not be rolled back now: {stuck}")
    return 0 if status["healthy"] is True and stuck is None else DriftError.exit_code


def _doctor(layout: Layout, only: Collection[str], as_json: bool) -> int:
    from stack.agent.checks import CHECKS
    from stack.agent.doctor import Patient, document, examine

    if unknown := sorted(set(only) - set(CHECKS)):
        raise UsageError(f"homeport-agent doctor: no line {unknown[0]!r}; there are {', '.join(CHECKS)}")
    findings = examine(Patient(layout), {name: CHECKS[name] for name in CHECKS if name in (only or CHECKS)})
    result = document(findings)
    _print(visible_json({"v": 1, "ok": True, "result": result}) if as_json else page(findings))
    return DriftError.exit_code if result["verdict"] == "fail" else 0


def _recover(layout: Layout) -> int:
    from stack.agent.host import Host
    from stack.agent.server import recover

    _say(recover(Host.open(layout)) or "nothing was left open")
    return 0


def _serve(layout: Layout) -> int:
    import logging

    from model_registry.core.logs import LineFormatter
    from stack.agent.host import Host
    from stack.agent.server import serve

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    serve(Host.open(layout))
    return 0


def _run_slot(layout: Layout, slot: str) -> NoReturn:
    """Replace this process by the container of the release in `slots/x`, once its signature is checked again."""
    from model_registry.core.files import Files
    from stack.agent.config import Config
    from stack.agent.fit import verify_folder
    from stack.agent.runtime.docker import DockerRuntime

    config, digest = Config.load(layout.agent_toml), linked_release(layout.slot(slot))
    if config.runtime != "docker":
        raise RefusedError(
            f"run-slot: for runtime docker, and this robot's is {config.runtime}; its agent starts slots"
        )
    if digest is None:
        raise NotFoundError(f"{layout.slot(slot)}: no release in slot {slot}; the agent starts {slot} when it has one")
    release = verify_folder(layout, layout.release(digest), digest)
    command = DockerRuntime(layout, config, Files()).slot(slot, release)
    os.execvpe(command.argv[0], command.argv, command.environment)


def _fail(error: HomeportError, as_json: bool) -> int:
    if as_json:
        result = getattr(error, "result", None)
        _print(visible_json(lines.error_document(error, result if isinstance(result, dict) else None)))
    _say(f"error: {error}")
    return error.exit_code


def _print(text: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(f"{visible_lines(text)}\n")
    stream.flush()


def _say(text: str) -> None:
    _print(visible(text), sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    given = sys.argv[1:] if argv is None else argv
    as_json = "--json" in given
    try:
        arguments = parser().parse_args(given)
        layout = Layout.at(getattr(arguments, "root", None))
        if arguments.verb == "run-slot":
            _run_slot(layout, arguments.slot)
        if arguments.verb == "doctor":
            return _doctor(layout, arguments.only, as_json)
        if arguments.verb == "recover":
            return _recover(layout)
        return _serve(layout) if arguments.verb == "serve" else _client(arguments, layout, as_json)
    except HomeportError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(HomeportError(f"{error.filename or 'system'}: {error.strerror or error}"), as_json)
    except KeyboardInterrupt:
        _say("error: interrupted; what was started on the robot goes on, ask for its status")
        return 130


if __name__ == "__main__":
    sys.exit(main())
