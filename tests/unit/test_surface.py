"""The names that people and other programs depend on.

Adding one needs a user and a test; taking one away needs a major version.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

import pytest
import typer

from stack.cli import build

HOMEPORT = {
    "model": {"init", "export", "check", "plan", "show", "diff", "pack", "push", "pull", "list", "verify"},
    "release": {"create", "show", "verify", "list", "pull"},
    "channel": {"sign", "show"},
    "keys": {"generate", "show", "rotate", "cosign"},
    "image": {"inspect"},
    "engine": {"build", "prove", "list", "show", "gc"},
}
AGENT = {
    "serve",
    "recover",
    "pin",
    "prune",
    "drain",
    "run-slot",
    "stage",
    "switch",
    "commit",
    "rollback",
    "status",
    "hold",
    "unhold",
    "arm",
    "reset",
    "doctor",
    "trust",
}
CORE = {
    "contract": {"Contract"},
    "digest": {"Digest"},
    "documents": {"Reader", "dump", "parse"},
    "dsse": {"Key", "envelope", "key_id", "pae", "read_keys", "trusted_keys", "verify"},
    "files": {"Files"},
    "layout": {"Layout", "ReleaseFolder", "linked_release", "linked_slot"},
    "lines": {"call", "request"},
    "release": {"Recipe", "Release", "ReleaseImage", "payload"},
    "robot": {"Limits", "Robot", "SourceSettings"},
    "trust": {"PAYLOAD_TYPE", "Trust", "TrustDocument"},
    "version": {"version"},
}


@pytest.mark.parametrize("group", HOMEPORT, ids=str)
def test_homeport_has_exactly_these_verbs(group: str) -> None:
    groups: Any = typer.main.get_command(build([group])).commands

    assert set(groups[group].commands) == HOMEPORT[group]


def test_homeport_agent_has_exactly_these_verbs() -> None:
    from stack.agent.cli.parser import parser

    [verbs] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]

    assert set(verbs.choices) == AGENT


@pytest.mark.parametrize("module", CORE, ids=str)
def test_the_core_exports_what_others_build_on(module: str) -> None:
    assert CORE[module] <= set(vars(importlib.import_module(f"model_registry.core.{module}")))
