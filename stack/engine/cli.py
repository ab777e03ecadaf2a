"""`homeport engine …`, and `python -m stack.engine …`, which the agent runs as a child process inside a release's own image."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, NotFoundError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.engine import builder, prove
from stack.engine.gates import Result

app = typer.Typer(help="Build, prove and look at engines.", no_args_is_help=True, add_completion=False)

RELEASE = Annotated[Path, typer.Option("--release", help="Folder of a release, below releases/.")]
ROOT = Annotated[Path | None, typer.Option("--root", help="Robot root instead of /var/lib/homeport.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NO_PROVE = Annotated[bool, typer.Option("--no-prove", help="Build only.")]


@app.command()
def build(release: RELEASE, root: ROOT = None, no_prove: NO_PROVE = False, as_json: JSON = False) -> None:
    """Build a release's engine for this device, prove it and link it into the release folder."""
    _make(release, Layout.at(root), as_json, build_it=True, prove_it=not no_prove)


@app.command("prove")
def prove_command(release: RELEASE, root: ROOT = None, as_json: JSON = False) -> None:
    """Prove the engine that a release already has."""
    _make(release, Layout.at(root), as_json, build_it=False, prove_it=True)


def _make(release: Path, layout: Layout, as_json: bool, *, build_it: bool, prove_it: bool) -> None:
    files = Files()
    what = builder.plan(release)
    if layout.robot_toml.exists():
        what.contract.check_fits(Robot.load(layout.robot_toml))
    for reason in what.choice.skipped:
        _progress(f"Not available here: {reason}.")
    with builder.lock(layout.engines):
        _progress(f"Engine {what.key[:12]} of {what.contract.name} {what.contract.version} on {what.choice.name}.")
        built = builder.build(what, layout.engines, files) if build_it else prove.existing(what, layout.engines)
        _progress(f"Built in {built.seconds:.1f} s." if built.built else "It is there and intact.")
        result = prove.prove_engine(what, built.folder, files) if prove_it else None
        prove.link(what, release, built, result, files)
    _report(built, result, as_json)
    if result is not None and not result.healthy:
        raise typer.Exit(1)


def _report(built: builder.Built, result: Result | None, as_json: bool) -> None:
    for check in result.checks if result else ():
        _progress(
            f"{'ok    ' if check.ok else 'FAILED'} {check.metric} {check.value} (threshold {check.threshold}): {check.text}."
        )
    gate = result.to_dict() if result else None
    body = {"key": built.key, "built": built.built, "seconds": built.seconds, "bytes": built.size_bytes, "gate": gate}
    verdict = gate["verdict"] if gate else "not proved"
    typer.echo(json.dumps(body, sort_keys=True) if as_json else f"{built.key} {verdict}")


@app.command("list")
def list_command(root: ROOT = None, as_json: JSON = False) -> None:
    """List the engines on this robot."""
    engines = Layout.at(root).engines
    folders = sorted(engines.iterdir()) if engines.is_dir() else []
    rows = [_describe(folder) for folder in folders if folder.is_dir() and not folder.name.startswith(".")]
    if as_json:
        typer.echo(json.dumps(rows, sort_keys=True))
        return
    for row in rows:
        typer.echo(f"{row['key']}  {row['verdict']}  {row['bytes']} bytes")


@app.command()
def show(key: Annotated[str, typer.Argument(help="Engine key, or its first characters.")], root: ROOT = None) -> None:
    """Print what an engine was built from and its gate result, as JSON."""
    engines = Layout.at(root).engines
    found = sorted(engines.glob(f"{key}*")) if key.isalnum() else []
    if len(found) != 1:
        raise NotFoundError(f"{engines}: {len(found)} engines begin with {key[:80]!r}; `engine list` shows all of them")
    names = (builder.KEY_FILE, builder.GATE_FILE)
    parts = {name: parse((found[0] / name).read_bytes(), name) for name in names if (found[0] / name).exists()}
    typer.echo(json.dumps({**_describe(found[0]), "files": parts}, sort_keys=True, indent=2))


def _describe(folder: Path) -> dict[str, object]:
    if folder.suffix == ".bad":
        return {"key": folder.name, "verdict": "damaged", "bytes": 0}
    try:
        size = builder.check(folder, folder.name)
    except HomeportError:
        return {"key": folder.name, "verdict": "damaged", "bytes": 0}
    gate = folder / builder.GATE_FILE
    verdict = str(_verdict(gate)) if gate.exists() else "not proved"
    return {"key": folder.name, "verdict": verdict, "bytes": size}


def _verdict(gate: Path) -> str:
    return Reader(parse(gate.read_bytes(), gate.name), gate.name).text("verdict")


def _progress(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """Run the commands; an error is one line on stderr and its own exit code."""
    try:
        app(prog_name="python -m stack.engine")
    except HomeportError as error:
        typer.echo(f"error: {error}", err=True)
        sys.stderr.flush()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os._exit(1)
