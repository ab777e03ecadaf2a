"""`homeport fleet`: what was done to a fleet, from the records that the playbooks have written beside its inventory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import JsonOption, group_of, result
from model_registry.core.examples import click_epilog
from stack.cli.history import Run, details, find, listing, records

_EXAMPLES = (
    "homeport fleet history ~/fleet/hosts.yml",
    "homeport fleet history ~/fleet/hosts.yml last",
    "homeport fleet history ~/fleet/hosts.yml 20261130T223104Z --json",
)

app = group_of("What was done to a fleet of robots.", *_EXAMPLES)


@app.callback()
def _group() -> None:
    """`history` is a verb of a group, also while it is the only one."""


@app.command(epilog=click_epilog(*_EXAMPLES))
def history(
    inventory: Annotated[
        Path, typer.Argument(metavar="INVENTORY", help="The inventory that make was given, or its folder.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[RECORD]", help="Show this one, or the `last`; its beginning will do.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List every deploy, rollback and status of a fleet, or show one with each robot and the figures of its gates."""
    paths = records(inventory)
    if name is None:
        result({"records": [str(path) for path in paths]}, as_json, listing(paths))
        return
    path = find(paths, name)
    run = Run.load(path)
    result(json.loads(path.read_text()) if as_json else {}, as_json, details(run))
