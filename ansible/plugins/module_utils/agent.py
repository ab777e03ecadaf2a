"""Calls `homeport-agent` on a robot: arguments in, one JSON document out, and an end to waiting for a silent one.

Ansible prints answers and messages as they are, so nothing of what the robot says passes here unseen (visible.py).
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible, visible_values

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class AgentError(Exception):
    """The agent refused, failed, kept silent or answered what nobody can read; `code` is its exit code."""

    def __init__(self, message: str, code: int = 1, result: dict[str, Any] | None = None, silent: bool = False) -> None:
        super().__init__(visible(message))
        self.code = code
        self.result = result or {}
        self.silent = silent


def options(*pairs: tuple[str, object]) -> list[str]:
    """Command line options, without those that have no value."""
    return [part for name, value in pairs if value is not None for part in (name, str(value))]


def argv(parameters: dict[str, Any], dry_run: bool = False) -> list[str]:
    """The agent's verb and options for the wanted state, as a list of arguments."""
    p = parameters
    flags = [flag for flag, wanted in (("--dry-run", dry_run), ("--retry", p["retry"])) if wanted]
    now = ["--now"] if p["now"] else []
    origin = options(("--source", p["source"]), ("--repository", p["repository"]))
    waits = options(("--commit", p["commit"]), ("--deadline", p["deadline_s"]), ("--probation", p["probation_s"]))
    told = ["--channel-record", "-"] if p["channel_record"] else []
    by = options(("--by", p["by"]))
    undo = ["--undo"] if p["undo"] else []
    verbs: dict[str, list[str]] = {
        "staged": ["stage", p["release"], *origin, *told, *flags, *by],
        "switched": ["switch", p["release"], *waits, "--gate", p["gate"], *now, *by],
        "committed": ["commit", p["release"], *by],
        "rolled_back": ["rollback", "--to", p["to"], "--gate", p["gate"], *now, *undo, *by],
        "held": ["hold", "--reason", p["reason"]],
        "drained": ["drain", "--reason", p["reason"]],
        "pruned": ["prune", *(["--dry-run"] if dry_run else [])],
        "status": ["status"],
        "doctor": ["doctor"],
    }
    return verbs[p["state"]]


def read_answer(stdout: str, stderr: str, returncode: int) -> dict[str, Any]:
    """The `result` of the one JSON document on stdout. Raises AgentError."""
    try:
        answer = visible_values(json.loads(stdout))
    except (ValueError, RecursionError):
        said = (stderr.strip() or stdout.strip() or "nothing")[-300:]
        raise AgentError(
            f"the agent ended with {returncode} and no JSON document, it said: {said}; look at its log on the robot"
        ) from None
    if not isinstance(answer, dict) or not isinstance(answer.get("result", {}), dict):
        raise AgentError("the agent's answer is not the object that docs/schemas/agent.schema.json describes")
    error = answer.get("error")
    if isinstance(error, dict):
        raise AgentError(str(error.get("message")), int(error.get("code", 1)), answer.get("result"))
    result: dict[str, Any] = answer.get("result", answer)
    return result


class Agent:
    """The agent of the robot that a module with these `parameters` runs on."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._timeout_s = parameters["timeout_s"]
        self._record = parameters["channel_record"]
        self._start = [parameters["agent"], *options(("--root", parameters["root"])), "--json"]

    def call(self, arguments: list[str]) -> dict[str, Any]:
        """The agent's result. Raises AgentError."""
        try:
            done = subprocess.run(
                [*self._start, *arguments],
                input=self._record or "",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self._timeout_s,
            )
        except OSError as error:
            message = f"{self._start[0]}: cannot be run ({error.strerror}); bootstrap.yml installs it"
            raise AgentError(message) from error
        except subprocess.TimeoutExpired as error:
            late = f"the agent did not answer {arguments[0]!r} in {self._timeout_s:g} s"
            message = f"{late}; see what it does there (homeport-agent status)"
            raise AgentError(message, silent=True) from error
        return read_answer(done.stdout, done.stderr, done.returncode)
