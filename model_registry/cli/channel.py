"""`homeport channel`: sign, show.

A channel record is a small document that people keep and review; robots take it signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import SignersOption, group_of
from model_registry.core.channel import PAYLOAD_TYPE, ChannelRecord
from model_registry.core.errors import NotFoundError
from model_registry.core.examples import click_epilog
from model_registry.core.trust import Trust

app = group_of(
    "Say which release a channel leads to, and which ones nobody may go to any more.",
    "homeport channel sign channel.json --key ~/homeport-keys/homeport.key > stable.dsse.json",
)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]
TrustOption = Annotated[Path, typer.Option("--keys", help="Folder of trusted public keys (<64 hex>.pub).")]


@app.command(
    epilog=click_epilog("homeport channel sign channel.json --key ~/homeport-keys/homeport.key > stable.dsse.json")
)
def sign(file: FileArgument, key: SignersOption) -> None:
    """Check a channel document (docs/examples/channel.json) and print it signed."""
    from model_registry import keys

    record = ChannelRecord.parse(_read(file))
    typer.echo(keys.sign(PAYLOAD_TYPE, record.payload(), *map(keys.load, key)))


@app.command(epilog=click_epilog("homeport channel show stable.dsse.json --keys keys"))
def show(file: FileArgument, keys: TrustOption) -> None:
    """Check the signature of a record and print its document."""
    payload = Trust.of_folder(keys).verify(_read(file), PAYLOAD_TYPE, str(file))
    typer.echo(ChannelRecord.parse(payload).payload())


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; docs/examples/channel.json is one to begin with")
    return path.read_bytes()
