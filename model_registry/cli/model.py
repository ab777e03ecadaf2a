"""`homeport model`: pack, push, pull, list, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_registry import packing, store
from model_registry.cli.entry import JsonOption, SourceOption, group_of, result, say, transfer
from model_registry.core.digest import Digest
from model_registry.core.robot import Robot
from model_registry.manifests import Manifest
from model_registry.models import files_of
from model_registry.refs import Reference
from model_registry.releases import FOLDER
from model_registry.sources import Source, open_source, resolve

app = group_of("Pack, move and check models.")


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="Folder with vla.json and the files it lists.")],
    source: SourceOption,
    as_json: JsonOption = False,
) -> None:
    """Store a model folder under the name and version of its contract; prints NAME@DIGEST."""
    packing.check_folder(folder)
    with transfer(f"Packing {folder}") as progress:
        contract, digest = packing.pack(folder, open_source(source, writable=True), progress)
    fields: dict[str, object] = {"name": contract.name, "version": contract.version, "digest": str(digest)}
    result(fields, as_json, f"{contract.name}@{digest}")


@app.command()
def push(
    reference: Annotated[str, typer.Argument(metavar="NAME:VERSION")],
    origin: Annotated[
        str, typer.Option("--from", envvar="HOMEPORT_SOURCE", help="Source that has it.", metavar="SOURCE")
    ],
    target: Annotated[str, typer.Option("--to", help="Source that gets it.", metavar="SOURCE")],
    as_json: JsonOption = False,
) -> None:
    """Copy a model from one source to another; prints NAME@DIGEST."""
    named, reading = Reference.parse(reference), open_source(origin)
    digest = resolve(reading, named)
    contract = packing.read_contract(reading, named.repository, digest)
    with transfer(f"Pushing {reference} to {target}") as progress:
        writing = open_source(target, writable=True)
        size = packing.copy(reading, writing, named.repository, digest, named.tag or contract.version, progress)
    fields: dict[str, object] = {
        "name": named.repository,
        "version": contract.version,
        "digest": str(digest),
        "bytes": size,
    }
    result(fields, as_json, f"{named.repository}@{digest}")


@app.command()
def pull(
    reference: Annotated[str, typer.Argument(metavar="NAME@sha256:…")],
    source: SourceOption,
    to: Annotated[Path, typer.Option("--to", help="Folder of models; the model goes to TO/<64 hex>.")],
    robot: Annotated[Path | None, typer.Option("--robot", help="robot.toml that the model must fit.")] = None,
    ingest: Annotated[
        Path | None, typer.Option("--ingest", help="Folder for partial files; default: TO/../ingest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring one model to this machine, every byte checked; prints its folder."""
    repository, digest = Reference.pinned(reference)
    wanted = None if robot is None else Robot.load(robot)
    if (stored := store.stored(to, digest, wanted)) is None:
        place = ingest if ingest is not None else to.resolve().parent / "ingest"
        with transfer(f"Pulling {repository}@{digest.short}") as progress:
            stored = store.pull_model(open_source(source), repository, digest, to, place, wanted, progress)
    fields: dict[str, object] = {
        "path": str(stored.path), "bytes_fetched": stored.bytes_fetched, "changed": stored.changed, "digest": str(digest)
    }  # fmt: skip
    say(f"{stored.bytes_fetched} bytes fetched" if stored.changed else "already here, nothing fetched")
    result(fields, as_json, str(stored.path))


@app.command("list")
def list_models(
    source: SourceOption,
    name: Annotated[str | None, typer.Argument(help="One model; all without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List models and their versions."""
    opened = open_source(source)
    names = (
        (name,) if name is not None else tuple(each for each in opened.repositories() if not each.startswith(FOLDER))
    )
    rows: list[dict[str, object]] = [
        {"name": each, "version": tag, "digest": str(opened.find(each, tag))}
        for each in names
        for tag in opened.tags(each)
    ]
    result(rows, as_json, "\n".join(f"{row['name']}:{row['version']}  {row['digest']}" for row in rows) or "no models")


@app.command()
def verify(
    what: Annotated[str, typer.Argument(metavar="FOLDER|NAME:VERSION|NAME@sha256:…")],
    source: Annotated[str | None, typer.Option("--source", envvar="HOMEPORT_SOURCE", metavar="SOURCE")] = None,
    as_json: JsonOption = False,
) -> None:
    """Hash every byte of a model folder, or of a model in a source."""
    folder = Path(what)
    if folder.is_dir():
        contract = _verify_folder(folder)
        name, version = contract
    elif source is None:
        raise typer.BadParameter("not a folder, and no --source to look in")
    else:
        name, version = _verify_in(open_source(source), Reference.parse(what))
    result({"name": name, "version": version, "ok": True}, as_json, f"{name} {version}: every byte is as it was packed")


def _verify_folder(folder: Path) -> tuple[str, str]:
    if (folder / "manifest.json").is_file():
        named = Digest(folder.resolve().name) if len(folder.resolve().name) == 64 else None
        contract = store.check_model(folder, named)
    else:
        contract, _ = packing.check_folder(folder)
    return contract.name, contract.version


def _verify_in(source: Source, reference: Reference) -> tuple[str, str]:
    digest = resolve(source, reference)
    contract = packing.read_contract(source, reference.repository, digest)
    what = f"{reference.repository}@{digest}"
    manifest = Manifest.parse(source.manifest(reference.repository, digest), what)
    files_of(manifest, what)
    with transfer(f"Checking {reference}") as progress:
        for blob in manifest.blobs:
            for piece in source.stream(reference.repository, blob):
                progress(len(piece))
    return contract.name, contract.version
