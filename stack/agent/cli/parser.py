"""What may be typed: every verb of `homeport-agent` with its options and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from model_registry.core.examples import examples
from model_registry.core.layout import SLOTS
from model_registry.core.version import version
from stack.agent.cli.examples import EXAMPLES
from stack.agent.reports import PERMISSIONS

DESCRIPTION = """Change the release of this robot, and change it back.

`serve` is the agent, the other verbs are clients of its socket, and `doctor` needs no agent.

Progress on stderr, the result on stdout.
"""
_PLAIN = {
    "serve": "be the agent of this robot",
    "status": "what runs here, and whether it is healthy (exit 3 when not)",
    "unhold": "end what hold and drain began",
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
    top = _Parser(prog="homeport-agent", description=DESCRIPTION, epilog=examples(EXAMPLES[""]), **style)
    top.add_argument("--version", action="version", version=version())
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, text: str, *more: _Parser) -> argparse.ArgumentParser:
        own = style | {"parents": [shared, *more]}
        return verbs.add_parser(name, help=text, description=text, epilog=examples(EXAMPLES[name]), **own)

    release = _Parser(add_help=False)
    robot = _Parser(add_help=False)
    asker = _Parser(add_help=False)
    digest: dict[str, Any] = {"type": lambda text: str(Digest.parse(text, "release")), "help": "sha256:<64 hex>"}
    release.add_argument("release", **digest)
    robot.add_argument("--gate", choices=PERMISSIONS, default="idle")
    robot.add_argument("--now", action="store_true", help="ask neither window nor hook; zero speed comes first")
    asker.add_argument("--by", metavar="WHO", help="who asks, for others who find the robot locked")
    for name, text in _PLAIN.items():
        verb(name, text)
    _add_changes(verb, release, robot, asker)
    _add_trust(verb)
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


def _add_trust(verb: Callable[..., argparse.ArgumentParser]) -> None:
    trust = verb("trust", "follow a signed trust document: which keys sign from now on")
    trust.add_argument("document", metavar="FILE", help="as `homeport keys rotate` made it; - is stdin")


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
