"""`homeport model show`, `homeport model diff`, `homeport model plan`: they read models and change nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import JsonOption, aligned, result
from model_registry.cli.model import app
from model_registry.comparing import compare
from model_registry.core.errors import RefusedError
from model_registry.core.examples import click_epilog
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from model_registry.describing import describe
from model_registry.reading import contract_file, find_model

_SOMEWHERE = "FOLDER|NAME:VERSION|NAME@sha256:…"
ModelArgument = Annotated[str, typer.Argument(metavar=_SOMEWHERE, help="A model folder, or a model in a source.")]
LookInOption = Annotated[
    str | None,
    typer.Option("--source", envvar="HOMEPORT_SOURCE", help="For a model that is no folder here.", metavar="SOURCE"),
]


@app.command(
    epilog=click_epilog("homeport model show pilot-1.0.0", "homeport model show pilot:1.0.0 --source oci:registry")
)
def show(model: ModelArgument, source: LookInOption = None, as_json: JsonOption = False) -> None:
    """Print what a model sees, which graphs run when, what it commands and what proves it."""
    found = find_model(model, source)
    lines = []
    for heading, rows in describe(found):
        table = aligned(rows)
        lines += [heading, *(f"  {line}" for line in table.splitlines())]
    fields = {
        "name": found.contract.name,
        "version": found.contract.version,
        "digest": None if found.digest is None else str(found.digest),
        "contract": json.loads(contract_file(found)),
        "files": {path: {"digest": str(digest), "bytes": size} for path, (digest, size) in found.files.items()},
        "bytes": found.bytes,
    }
    result(fields, as_json, "\n".join(lines))


@app.command(
    epilog=click_epilog(
        "homeport model diff pilot-1.0.0 pilot-1.1.0",
        "homeport model diff pilot:1.0.0 pilot-1.1.0 --source oci:registry",
    )
)
def diff(before: ModelArgument, after: ModelArgument, source: LookInOption = None, as_json: JsonOption = False) -> None:
    """Print what changed from one model to another: fields of the contract, statistics, files by digest and size."""
    found = compare(find_model(before, source, packed=True), find_model(after, source, packed=True))
    lines = []
    for part, differences in found.items():
        if differences:
            lines += [part, *(f"  {each.text}" for each in differences)]
    fields = {part: [asdict(each) for each in differences] for part, differences in found.items()}
    result(fields, as_json, "\n".join(lines) or "nothing differs")


@app.command(
    epilog=click_epilog(
        "homeport model plan pilot-1.0.0 --robot robot.toml",
        "homeport model plan pilot:1.0.0 --robot robot.toml --source oci:registry",
    )
)
def plan(
    model: ModelArgument,
    robot: Annotated[Path, typer.Option("--robot", help="robot.toml of the robot that it is for.")],
    source: LookInOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print where a robot gets each thing that a model wants, or why it cannot; ends with 5 where it does not fit."""
    contract = find_model(model, source).contract
    target = Robot.load(robot)
    made = Plan.of(contract, target)
    rows = [("no" if line.reason else "yes", line.wants, line.reason or line.source or "") for line in made.lines]
    fields = {
        "model": f"{contract.name}:{contract.version}",
        "robot": target.name,
        "fits": not made.refusals,
        "lines": [asdict(line) for line in made.lines],
    }
    result(fields, as_json, aligned([("fits", "wants", "source, or why not"), *rows]))
    if made.refusals:
        raise RefusedError(
            f"{contract.name} {contract.version} does not fit {target.name}: {len(made.refusals)} of "
            f"{len(made.lines)} things are missing; change the model or {robot}"
        )
