"""`homeport keys`: generate, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import JsonOption, group_of, result, say
from model_registry.core.examples import click_epilog

app = group_of("Make and look at signing keys.", "homeport keys generate --out ~/homeport-keys")


@app.command(epilog=click_epilog("homeport keys generate --out ~/homeport-keys"))
def generate(
    out: Annotated[Path, typer.Option("--out", help="Folder for the key pair, outside of every repository.")],
    name: Annotated[str, typer.Option("--name", help="The private key becomes NAME.key.")] = "homeport",
    as_json: JsonOption = False,
) -> None:
    """Write NAME.key (mode 0600) and <64 hex>.pub; prints the public key's path."""
    from model_registry import keys

    private, public = keys.generate(out, name)
    say(f"Keep {private} secret and backed up; install {public.name} on robots with the role device")
    result({"key": str(private), "public": str(public), "id": public.stem}, as_json, str(public))


@app.command(
    epilog=click_epilog(
        "homeport keys show ~/homeport-keys/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.pub"
    )
)
def show(file: Annotated[Path, typer.Argument(metavar="FILE.pub")], as_json: JsonOption = False) -> None:
    """Print the id of a public key: the sha256 of its SPKI."""
    from model_registry import keys

    identity = keys.identity(file)
    result({"id": identity.hex, "path": str(file)}, as_json, identity.hex)
