"""Calls `homeport-agent` on a robot: arguments in, one JSON document out, and an end to waiting for a silent one."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class AgentError(Exception):
    """The agent refused, failed, kept silent or answered what nobody can read; `code` is its exit code."""

    def __init__(self, message: str, code: int = 1, result: dict[str, Any] | None = None, silent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.result = result or {}
        self.silent = silent


def options(*pairs: tuple[str, object]) -> list[str]:
    """Command line options, without those that have no value."""
    return [part for name, value in pairs if value is not None for part in (name, str(value))]


def argv(parameters: dict[str, Any], dry_run: bool = False) -> list[str]:
    """The agent's verb and options for the wanted state, as a list of arguments."""
    p = parameters
    if p["state"] == "staged":
        flags = [flag for flag, wanted in (("--dry-run", dry_run), ("--retry", p["retry"])) if wanted]
        return ["stage", p["release"], *options(("--source", p["source"]), ("--repository", p["repository"])), *flags]
    if p["state"] == "switched":
        waits = options(("--commit", p["commit"]), ("--deadline", p["deadline_s"]), ("--probation", p["probation_s"]))
        return ["switch", p["release"], *waits, "--gate", p["gate"]]
    if p["state"] == "committed":
        return ["commit", p["release"]]
    if p["state"] == "rolled_back":
        return ["rollback", "--to", p["to"], "--gate", p["gate"]]
    if p["state"] == "held":
        return ["hold", "--reason", p["reason"]]
    return ["status"]


def read_answer(stdout: str, stderr: str, returncode: int) -> dict[str, Any]:
    """The `result` of the one JSON document on stdout. Raises AgentError."""
    try:
        answer = json.loads(stdout)
    except ValueError:
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
    """The agent of the robot that `module` runs on."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.timeout_s = module.params["timeout_s"]
        self.start = [module.params["agent"], *options(("--root", module.params["root"])), "--json"]

    def call(self, arguments: list[str]) -> dict[str, Any]:
        """The agent's result. Raises AgentError."""
        timers: list[threading.Timer] = []

        def watch(process: subprocess.Popen[bytes]) -> None:
            timers.append(threading.Timer(self.timeout_s, process.kill))
            timers[0].start()

        try:
            returncode, stdout, stderr = self.module.run_command(
                [*self.start, *arguments], before_communicate_callback=watch, handle_exceptions=False
            )
        except OSError as error:
            raise AgentError(f"{self.start[0]}: cannot be run ({error.strerror}); bootstrap.yml installs it") from error
        finally:
            for timer in timers:
                timer.cancel()
        if returncode == -9:
            message = f"the agent did not answer {arguments[0]!r} in {self.timeout_s:g} s and was stopped"
            raise AgentError(message, silent=True)
        return read_answer(stdout, stderr, returncode)
