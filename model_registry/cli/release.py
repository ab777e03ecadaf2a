"""`homeport release`: create, show, verify, list, pull."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from model_registry import releases
from model_registry.cli.entry import (
    JsonOption,
    KeysOption,
    SignersOption,
    SourceOption,
    group_of,
    result,
    say,
    transfer,
)
from model_registry.core.digest import Digest
from model_registry.core.examples import click_epilog
from model_registry.core.layout import ReleaseFolder
from model_registry.core.release import Release, check_version
from model_registry.core.visible import visible_json
from model_registry.refs import Reference
from model_registry.sources import Source, open_source

app = group_of(
    "Make, find and check releases.",
    "homeport release create --file release.toml --source oci:registry --key ~/homeport-keys/homeport.key",
    "homeport release list --source oci:registry",
)
ReferenceArgument = Annotated[str, typer.Argument(metavar="NAME:VERSION|NAME@sha256:…")]


@app.command(
    epilog=click_epilog(
        "homeport release create --file release.toml --source oci:registry --key ~/homeport-keys/homeport.key",
        "homeport release create --file release.toml --version 1.1.0 --counter 2 --source oci:registry --key "
        "~/homeport-keys/homeport.key",
    )
)
def create(
    file: Annotated[Path, typer.Option("--file", help="release.toml")],
    key: SignersOption,
    source: SourceOption,
    version: Annotated[str | None, typer.Option(help="Instead of the file's version.")] = None,
    counter: Annotated[int | None, typer.Option(help="Instead of the file's counter.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of the file's model.ref.")] = None,
    wheel: Annotated[Path | None, typer.Option(help="Wheel for the rows process.")] = None,
    lock: Annotated[Path | None, typer.Option(help="Lock file for the rows process.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Pin, sign and publish a release; prints its digest."""
    from model_registry import keys, releasing

    draft = releasing.Draft.load(file).changed(version=version, counter=counter, model=model, wheel=wheel, lock=lock)
    private = [keys.load(each) for each in key]
    with transfer(f"Publishing {draft.name} {draft.version}"):
        release = releasing.create(draft, open_source(source, writable=True), *private)
    fields = {
        "release": str(release.digest),
        "name": release.name,
        "version": release.version,
        "counter": release.counter,
        "repository": releases.repository_of(release.name),
        "model": str(release.model),
    }
    result(fields, as_json, str(release.digest))


@app.command(epilog=click_epilog("homeport release show pilot:1.0.0 --source oci:registry --keys keys"))
def show(
    reference: ReferenceArgument, source: SourceOption, keys: KeysOption = None, as_json: JsonOption = False
) -> None:
    """Print a release and who signed it."""
    published = releases.read(open_source(source), Reference.parse(reference), keys)
    document = json.loads(published.payload)
    digest = str(published.release.digest)
    signed_by = list(published.signed_by)
    signers = ", ".join(identity[:12] for identity in signed_by)
    trust = "verified" if published.verified else "not verified, give --keys"
    text = f"{digest}\nsigned by {signers} ({trust})\n{visible_json(document, indent=2)}"
    fields = {"release": digest, "signed_by": signed_by, "verified": published.verified, "document": document}
    result(fields, as_json, text)


@app.command(epilog=click_epilog("homeport release verify pilot:1.0.0 --source oci:registry --keys keys"))
def verify(
    reference: ReferenceArgument,
    source: SourceOption,
    keys: Annotated[Path, typer.Option("--keys", help="Folder of trusted public keys (<64 hex>.pub).")],
    as_json: JsonOption = False,
) -> None:
    """Check a release's signature, and hash every byte it leads to."""
    opened = open_source(source)
    published = releases.read(opened, Reference.parse(reference), keys)
    with transfer(f"Checking {reference}") as progress:
        size = releases.verify(opened, published, progress)
    release = published.release
    signed_by = list(published.signed_by)
    fields = {"release": str(release.digest), "bytes_read": size, "signed_by": signed_by, "ok": True}
    result(fields, as_json, f"{release.name} {release.version} {release.digest}: signature and {size} bytes are good")


@app.command("list", epilog=click_epilog("homeport release list --source https://registry.example.org"))
def list_releases(
    source: SourceOption,
    name: Annotated[str | None, typer.Argument(help="One release name; all without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List releases and their versions. Names are as the source tells them; `show --keys` checks one."""
    opened = open_source(source)
    if name is not None:
        repositories = [releases.repository_of(name)]
    else:
        repositories = [each for each in opened.repositories() if each.startswith(releases.FOLDER)]
    rows = [
        {"name": release.name, "version": release.version, "release": str(release.digest), "counter": release.counter}
        for repository in repositories
        for release in _releases_in(opened, repository)
    ]
    text = "\n".join(f"{row['name']}:{row['version']}  {row['release']}  counter {row['counter']}" for row in rows)
    result(rows, as_json, text or "no releases")


def _releases_in(source: Source, repository: str) -> Iterator[Release]:
    for tag in source.tags(repository):
        if not tag.startswith(releases.LOCATOR):
            check_version(tag, f"{repository}:{tag}")
            yield releases.read(source, Reference(repository, tag, None), None).release


@app.command(
    epilog=click_epilog(
        "homeport release pull sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --source "
        "oci:registry --repository releases/pilot --to folder --row-arch process/amd64"
    )
)
def pull(
    digest: Annotated[str, typer.Argument(metavar="sha256:…")],
    source: SourceOption,
    repository: Annotated[str, typer.Option("--repository", help="Such as releases/pilot.")],
    to: Annotated[Path, typer.Option("--to", help="Folder that gets release.json, release.dsse.json and image.whl.")],
    row_arch: Annotated[str, typer.Option("--row-arch", help="Such as process/amd64.")],
    keys: KeysOption = None,
) -> None:
    """Bring a release to this machine, as the agent does.

    Prints {"release", "bytes_fetched", "image_bytes", "model_bytes"} as JSON.
    """
    wanted = Digest.parse(digest, "release")
    if keys is None:
        say("No --keys given: the digest is checked, the signature is not")
    folder = ReleaseFolder(to)
    fetched = model_bytes = 0
    if not releases.is_there(folder, wanted, row_arch, keys):
        with transfer(f"Pulling release {wanted.short}") as progress:
            fetched = releases.pull(open_source(source), repository, wanted, row_arch, folder, keys, progress)
        model_bytes = releases.model_bytes(open_source(source), folder)
    wheel = row_arch.startswith(releases.PROCESS)
    size = 0 if wheel else releases.image_bytes(open_source(source), folder, row_arch)
    sizes = {"image_bytes": size, "model_bytes": model_bytes}
    result({"release": str(wanted), "bytes_fetched": fetched, **sizes}, True, "")
