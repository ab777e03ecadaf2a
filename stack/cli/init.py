"""`homeport init`: start a folder that a person goes on with.

    homeport init fleet ~/fleet

copies the commented examples of this checkout, with the paths that they name set right, and makes a key pair for them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from model_registry.cli.entry import JsonOption, group_of, result, say
from model_registry.core.errors import NotFoundError, RefusedError
from model_registry.core.examples import click_epilog
from model_registry.core.paths import at_home

CHECKOUT = Path(__file__).resolve().parents[2]
_RELEASE = Path("docs/examples/release.toml")
_PATHS_IN_RELEASE = ("../../build/dist/", "../../requirements/")

_EXAMPLES = ("homeport init fleet ~/fleet", "homeport init fleet ~/fleet --row jp6")

app = group_of("Start a folder of your own from commented examples.", *_EXAMPLES)


@app.callback()
def _group() -> None:
    """`fleet` is a verb of a group, also while it is the only one."""


@app.command(epilog=click_epilog(*_EXAMPLES))
def fleet(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, outside of every repository.")],
    row: Annotated[
        str, typer.Option("--row", help="`process` for plain processes, any other row for containers.")
    ] = "process",
    as_json: JsonOption = False,
) -> None:
    """Write an inventory, release.toml and a signing key into FOLDER."""
    made = write_fleet(at_home(folder), row)
    say(
        f"Next: edit {made / 'hosts.yml'} and {made / 'group_vars'}, then `make bootstrap "
        f"INVENTORY={made / 'hosts.yml'}`"
    )
    result(
        {"folder": str(made), "files": sorted(str(path.relative_to(made)) for path in files_below(made))},
        as_json,
        str(made),
    )


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def write_fleet(folder: Path, row: str) -> Path:
    """Make `folder`, whole or not at all; returns it. Raises RefusedError when it is there or inside a repository."""
    from model_registry import keys

    example = CHECKOUT / "ansible" / "inventory" / ("process" if row == "process" else "example")
    if not example.is_dir():
        raise NotFoundError(f"{example}: not there; run `homeport init fleet` from a checkout of Homeport")
    if folder.exists() and any(folder.iterdir()):
        raise RefusedError(f"{folder}: is not empty; choose a new folder")
    keys.refuse_repository(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(example, fresh)
    _, public = keys.generate(fresh / "keys", "release")
    public.rename(fresh / "keys" / "release.pub")
    (fresh / "release.toml").write_text(_release_text(folder))
    if folder.exists():
        folder.rmdir()
    fresh.rename(folder)
    return folder


def _release_text(folder: Path) -> str:
    """docs/examples/release.toml with paths that are right in `folder`."""
    text = (CHECKOUT / _RELEASE).read_text()
    for path in _PATHS_IN_RELEASE:
        target = (CHECKOUT / _RELEASE.parent / path).resolve()
        text = text.replace(f'"{path}', f'"{os.path.relpath(target, folder.resolve())}/')
    return text
