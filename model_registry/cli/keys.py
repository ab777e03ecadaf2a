"""`homeport keys`: generate, show, rotate, cosign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import JsonOption, group_of, result, say
from model_registry.core import dsse
from model_registry.core.errors import NotFoundError, UsageError
from model_registry.core.examples import click_epilog
from model_registry.core.trust import PAYLOAD_TYPE, TrustDocument

app = group_of(
    "Make and look at signing keys, and hand the signing over to others.",
    "homeport keys generate --out ~/homeport-keys",
    "homeport keys rotate --keys new-keys --key ~/homeport-keys/homeport.key > trust-1.dsse.json",
)


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


@app.command(
    epilog=click_epilog(
        "homeport keys rotate --keys new-keys --key ~/homeport-keys/homeport.key > trust-1.dsse.json",
        "homeport keys rotate --after trust-1.dsse.json --keys keys --threshold 2 --key anna.key --key ben.key "
        "> trust-2.dsse.json",
    )
)
def rotate(
    keys: Annotated[Path, typer.Option("--keys", help="Folder of the public keys that sign from now on.")],
    signers: Annotated[list[Path], typer.Option("--key", help="Private key of before that signs this; repeatable.")],
    after: Annotated[Path | None, typer.Option("--after", help="The trust document in force; none: the first.")] = None,
    threshold: Annotated[int, typer.Option("--threshold", help="How many of the keys have to sign.")] = 1,
    minimum_counter: Annotated[
        int | None, typer.Option("--minimum-counter", help="New floor of robots for the counter of releases.")
    ] = None,
) -> None:
    """Print a trust document: which keys sign from now on. Robots take it with `homeport-agent trust`."""
    from model_registry import keys as pairs

    number = 1 if after is None else _document(after).number + 1
    found = dsse.read_keys(keys)
    if found.broken:
        raise UsageError(f"{found.broken[0]}; remove that file")
    payload = TrustDocument(number, threshold, found.keys, minimum_counter).payload()
    TrustDocument.parse(payload)
    say(
        f"Trust document {number}: {threshold} of {len(found.keys)} keys sign; other keys are retired where it is taken"
    )
    typer.echo(pairs.sign(PAYLOAD_TYPE, payload, *map(pairs.load, signers)))


@app.command(epilog=click_epilog("homeport keys cosign trust-2.dsse.json --key ben.key > signed.dsse.json"))
def cosign(
    file: Annotated[Path, typer.Argument(metavar="FILE.dsse.json")],
    key: Annotated[Path, typer.Option("--key", envvar="HOMEPORT_KEY", help="Private key that signs it as well.")],
) -> None:
    """Print a signed trust document or channel record with one more signature."""
    from model_registry import keys as pairs

    typer.echo(pairs.cosign(_read(file), pairs.load(key), str(file)))


def _document(path: Path) -> TrustDocument:
    payload, _ = dsse.read_payload(_read(path), PAYLOAD_TYPE, str(path))
    return TrustDocument.parse(payload)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror}); name a signed document") from error
