"""`homeport model`: pack, push, pull, list, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_registry import packing, store
from model_registry.authoring import AUTHORED
from model_registry.cli.entry import (
    JsonOption,
    LeastOption,
    LimitOption,
    SourceOption,
    group_of,
    rate,
    result,
    say,
    transfer,
)
from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.examples import click_epilog
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from model_registry.core.visible import visible
from model_registry.models import Model
from model_registry.refs import Reference
from model_registry.releases import FOLDER
from model_registry.sources import Source, check_blobs, open_source, resolve

app = group_of(
    "Pack, move and check models.",
    "homeport model pack pilot-1.0.0 --source oci:registry",
    "homeport model list --source oci:registry",
)


@app.command(epilog=click_epilog("homeport model pack pilot-1.0.0 --source oci:registry"))
def pack(
    folder: Annotated[Path, typer.Argument(help="Folder with vla.toml, or vla.json, and the model's files.")],
    source: SourceOption,
    robot: Annotated[Path | None, typer.Option("--robot", help="robot.toml that the model must fit.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look into a model folder and store it under the name and version of its contract; prints NAME@DIGEST.

    Where the folder has a vla.toml, vla.json is made of it, with the digest of every file.
    """
    prepared = packing.prepare(folder)
    if robot is not None:
        known = Robot.load(robot)
        Plan.of(prepared.contract, known).check(prepared.contract, known)
    if prepared.authored:
        say(f"vla.json is made of {folder / AUTHORED}, with the digests of {len(prepared.files) - 1} files")
    for note in prepared.notes:
        say(f"{note}, as vla.json says; the folder stays as it is")
    with transfer(f"Packing {folder}") as progress:
        contract, digest = packing.put(prepared, open_source(source, writable=True), progress)
    fields = {"name": contract.name, "version": contract.version, "digest": str(digest)}
    result(fields, as_json, f"{contract.name}@{digest}")


@app.command(
    epilog=click_epilog("homeport model push pilot:1.0.0 --from oci:registry --to https://registry.example.org")
)
def push(
    reference: Annotated[str, typer.Argument(metavar="NAME:VERSION")],
    origin: Annotated[
        str, typer.Option("--from", envvar="HOMEPORT_SOURCE", help="Source that has it.", metavar="SOURCE")
    ],
    target: Annotated[str, typer.Option("--to", help="Source that gets it.", metavar="SOURCE")],
    as_json: JsonOption = False,
) -> None:
    """Copy a model from one source to another; prints NAME@DIGEST."""
    named = Reference.parse(reference)
    reading = open_source(origin)
    digest = resolve(reading, named)
    version = Model.find(reading, named.repository, digest).contract.version
    with transfer(f"Pushing {reference} to {target}") as progress:
        writing = open_source(target, writable=True)
        size = packing.copy(reading, writing, named.repository, digest, named.tag or version, progress)
    fields = {"name": named.repository, "version": version, "digest": str(digest), "bytes": size}
    result(fields, as_json, f"{named.repository}@{digest}")


@app.command(
    epilog=click_epilog(
        "homeport model pull pilot@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --source "
        "oci:registry --to models"
    )
)
def pull(
    reference: Annotated[str, typer.Argument(metavar="NAME@sha256:…")],
    source: SourceOption,
    to: Annotated[Path, typer.Option("--to", help="Folder of models; the model goes to TO/<64 hex>.")],
    robot: Annotated[Path | None, typer.Option("--robot", help="robot.toml that the model must fit.")] = None,
    limit: LimitOption = None,
    least: LeastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring one model to this machine, every byte checked; prints its folder."""
    repository, digest = Reference.pinned(reference)
    wanted = None if robot is None else Robot.load(robot)
    if (stored := store.stored(to, digest, wanted)) is None:
        with transfer(f"Pulling {repository}@{digest.short}", rate(limit), rate(least)) as progress:
            stored = store.pull_model(open_source(source), repository, digest, to, wanted, progress)
    say(f"{stored.bytes_fetched} bytes fetched" if stored.changed else "already here, nothing fetched")
    cost = {"bytes_fetched": stored.bytes_fetched, "changed": stored.changed}
    result({"path": str(stored.path), "digest": str(digest), **cost}, as_json, str(stored.path))


@app.command(
    "list",
    epilog=click_epilog(
        "homeport model list --source oci:registry",
        "homeport model list pilot --source https://registry.example.org --json",
    ),
)
def list_models(
    source: SourceOption,
    name: Annotated[str | None, typer.Argument(help="One model; all without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List models and their versions."""
    opened = open_source(source)
    names = [name] if name is not None else [each for each in opened.repositories() if not each.startswith(FOLDER)]
    rows = [
        {"name": each, "version": tag, "digest": str(opened.find(each, tag))}
        for each in names
        for tag in opened.tags(each)
    ]
    lines = [visible(f"{row['name']}:{row['version']}  {row['digest']}") for row in rows]
    result(rows, as_json, "\n".join(lines) or "no models")


@app.command(
    epilog=click_epilog("homeport model verify pilot-1.0.0", "homeport model verify pilot:1.0.0 --source oci:registry")
)
def verify(
    what: Annotated[str, typer.Argument(metavar="FOLDER|NAME:VERSION|NAME@sha256:…")],
    source: Annotated[
        str | None,
        typer.Option(
            "--source", envvar="HOMEPORT_SOURCE", help="For a model that is no folder here.", metavar="SOURCE"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hash every byte of a model folder, or of a model in a source."""
    folder = Path(what)
    told = "every byte is as it was packed"
    if folder.is_dir():
        contract = _verify_folder(folder)
        if (folder / AUTHORED).is_file():
            told = f"{AUTHORED} and its files can be read; pack computes their digests"
    elif source is None:
        raise typer.BadParameter("not a folder, and no --source to look in")
    else:
        contract = _verify_in(open_source(source), Reference.parse(what))
    name = contract.name
    version = contract.version
    result({"name": name, "version": version, "ok": True}, as_json, f"{name} {version}: {told}")


def _verify_folder(folder: Path) -> Contract:
    if not (folder / "manifest.json").is_file():
        return packing.check_folder(folder)[0]
    name = folder.resolve().name
    return store.check_model(folder, Digest(name) if len(name) == 64 else None)


def _verify_in(source: Source, reference: Reference) -> Contract:
    model = Model.find(source, reference.repository, resolve(source, reference))
    with transfer(f"Checking {reference}") as progress:
        check_blobs(source, reference.repository, model.manifest.blobs, progress)
    return model.contract
