"""The verbs that a client asks the agent for, over its socket."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_registry.core import lines
from model_registry.core.errors import DriftError, HomeportError
from model_registry.core.layout import Layout
from model_registry.core.visible import visible_json
from stack.agent.cli.output import page, say, status_lines, summary, write

_STAGE_S = 7200.0
_QUICK_S = 60.0
_CHANGES = ("stage", "switch", "commit", "rollback", "prune")


def request(arguments: argparse.Namespace, layout: Layout) -> tuple[bytes, float]:
    """The request line of a verb, whose fields are its options, and how long its answer may take (s)."""
    fields = {key: value for key, value in vars(arguments).items() if key not in ("verb", "root", "json")}
    timeout_s = _QUICK_S
    if arguments.verb in _CHANGES:
        from stack.agent.settings.config import Config, change_s

        timeout_s = _STAGE_S if arguments.verb == "stage" else change_s(layout.agent_toml)
    if arguments.verb == "stage":
        fields["repository"] = arguments.repository or Config.load(layout.agent_toml).repository
        if (record := fields.pop("channel_record")) is not None:
            fields["channel_record"] = _read(record)
    if arguments.verb == "trust":
        fields["document"] = _read(arguments.document)
    if arguments.verb == "switch":
        if arguments.probation_s is None:
            fields["probation_s"] = Config.load(layout.agent_toml).gate.probation_s
        timeout_s += fields["deadline_s"] + fields["probation_s"]
    return lines.request(arguments.verb, **fields), timeout_s


def _read(name: str) -> str:
    """The text of a signed document; - is stdin."""
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    return data.decode(errors="replace")


def ask(path: Path, verb: str, line: bytes, timeout_s: float) -> dict[str, Any]:
    """The agent's answer. Raises HomeportError; what it does goes on when nobody waits any more."""
    try:
        return lines.call(path, line, timeout_s, lambda _, text: say(text))
    except lines.LateError as error:
        if verb not in _CHANGES:
            remedy = "the agent hangs; restart it (systemctl restart homeport-agent)"
            raise HomeportError(f"{path}: no usable answer within {timeout_s:g} s, {remedy}") from error
        text = f"no answer within {timeout_s:g} s, and it may still be under way; ask `homeport-agent status`"
        raise HomeportError(f"{verb}: {text}") from error


def call(arguments: argparse.Namespace, layout: Layout, as_json: bool) -> int:
    line, timeout_s = request(arguments, layout)
    if not layout.agent_socket.exists():
        raise HomeportError(
            f"{layout.agent_socket}: no agent serves here; start it (systemctl start homeport-agent) or check --root"
        )
    result = ask(layout.agent_socket, arguments.verb, line, timeout_s)
    status = arguments.verb == "status"
    if as_json:
        write(visible_json({"v": 1, "ok": True, "result": result}))
    else:
        write(page(status_lines(result)) if status else summary(result))
    return _verdict(result) if status else 0


def _verdict(status: Mapping[str, Any]) -> int:
    """The exit code of a status, after a sentence on stderr for each reason that it is not 0."""
    stuck = status["way_back"]["reason"]
    if status["healthy"] is not True:
        say(f"not healthy: {'; '.join(status['problems'])}")
    if stuck is not None:
        say(f"could not be rolled back now: {stuck}")
    return 0 if status["healthy"] is True and stuck is None else DriftError.exit_code
