"""`homeport-agent`, the program: one command line, one exit code.

What only the agent itself needs is imported where it begins: a client that asks for a rollback should not read all of
it first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from typing import NoReturn

from model_registry.core import lines
from model_registry.core.errors import DriftError, HomeportError, NotFoundError, RefusedError, UsageError
from model_registry.core.layout import Layout, linked_release
from model_registry.core.visible import visible_json
from stack.agent.cli.client import call
from stack.agent.cli.output import page, say, write
from stack.agent.cli.parser import parser


def _doctor(layout: Layout, only: Collection[str], as_json: bool) -> int:
    from stack.agent.doctor.checks import CHECKS
    from stack.agent.doctor.examine import Patient, document, examine

    if unknown := sorted(set(only) - set(CHECKS)):
        raise UsageError(f"homeport-agent doctor: no line {unknown[0]!r}; there are {', '.join(CHECKS)}")
    findings = examine(Patient(layout), {name: CHECKS[name] for name in CHECKS if name in (only or CHECKS)})
    result = document(findings)
    write(visible_json({"v": 1, "ok": True, "result": result}) if as_json else page(findings))
    return DriftError.exit_code if result["verdict"] == "fail" else 0


def _recover(layout: Layout) -> int:
    from stack.agent.api.server import recover
    from stack.agent.host import Host

    say(recover(Host.open(layout)) or "nothing was left open")
    return 0


def _serve(layout: Layout) -> int:
    import logging

    from model_registry.core.logs import LineFormatter
    from stack.agent.api.server import serve
    from stack.agent.host import Host

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    serve(Host.open(layout))
    return 0


def _run_slot(layout: Layout, slot: str) -> NoReturn:
    """Replace this process by the container of the release in `slots/x`, once its signature is checked again."""
    from model_registry.core.files import Files
    from stack.agent.disk.store import verify_staged
    from stack.agent.runtime.docker import DockerRuntime
    from stack.agent.settings.config import Config

    config = Config.load(layout.agent_toml)
    digest = linked_release(layout.slot(slot))
    if config.runtime != "docker":
        raise RefusedError(
            f"run-slot: for runtime docker, and this robot's is {config.runtime}; its agent starts slots"
        )
    if digest is None:
        raise NotFoundError(f"{layout.slot(slot)}: no release in slot {slot}; the agent starts {slot} when it has one")
    release = verify_staged(layout, digest)
    command = DockerRuntime(layout, config, Files()).slot(slot, release)
    os.execvpe(command.argv[0], command.argv, command.environment)


def _fail(error: HomeportError, as_json: bool) -> int:
    if as_json:
        result = getattr(error, "result", None)
        write(visible_json(lines.error_document(error, result if isinstance(result, dict) else None)))
    say(f"error: {error}")
    return error.exit_code


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
        return _serve(layout) if arguments.verb == "serve" else call(arguments, layout, as_json)
    except HomeportError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(HomeportError(f"{error.filename or 'system'}: {error.strerror or error}"), as_json)
    except KeyboardInterrupt:
        say("error: interrupted; what was started on the robot goes on, ask for its status")
        return 130


if __name__ == "__main__":
    sys.exit(main())
