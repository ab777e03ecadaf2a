"""`homeport engine …`, and `python -m stack.engine …`, which the agent runs as a child process inside a release's own
image.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, NotFoundError
from model_registry.core.examples import click_epilog
from model_registry.core.files import Files
from model_registry.core.gate import GateResult
from model_registry.core.layout import Layout
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from model_registry.core.visible import visible, visible_json
from stack.engine import builder, variants

app = typer.Typer(
    help="Build, prove and look at engines.",
    epilog=click_epilog("homeport engine list", "homeport engine show 9f86d081884c"),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

RELEASE = Annotated[Path, typer.Option("--release", help="Folder of a release, below releases/.")]
ROOT = Annotated[Path | None, typer.Option("--root", help="Robot root instead of /var/lib/homeport.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    epilog=click_epilog(
        "homeport engine build --release "
        "/var/lib/homeport/releases/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )
)
def build(release: RELEASE, root: ROOT = None, as_json: JSON = False) -> None:
    """Build a release's engine for this device, prove it and link it into the release folder."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # leave no half-built engine
    _make(release, Layout.at(root), as_json, build_it=True)


@app.command(
    "prove",
    epilog=click_epilog(
        "homeport engine prove --release "
        "/var/lib/homeport/releases/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    ),
)
def prove_command(release: RELEASE, root: ROOT = None, as_json: JSON = False) -> None:
    """Prove the engine that a release already has."""
    _make(release, Layout.at(root), as_json, build_it=False)


def _make(release: Path, layout: Layout, as_json: bool, *, build_it: bool) -> None:
    files = Files()
    engines = layout.engines
    what = builder.plan(release)
    if layout.robot_toml.exists():
        robot = Robot.load(layout.robot_toml)
        Plan.of(what.contract, robot).check(what.contract, robot)
        what = replace(what, oldest_s=robot.safety.action_max_age_s)
    for reason in what.choice.skipped:
        _progress(f"Not available here: {reason}.")
    with builder.lock(engines):
        _progress(f"Engine {what.key[:12]} of {what.contract.name} {what.contract.version} on {what.choice.name}.")
        built = (
            builder.build(what, engines, files, _progress) if build_it else builder.check(engines / what.key, what.key)
        )
        _progress(f"Built in {built.seconds:.1f} s." if built.built else "It is there and intact.")
        result = builder.prove(what, built.folder, files)
        if build_it and not built.built and _cannot_load(result):  # intact, and foreign to what this machine is now
            _progress("It cannot be loaded any more; building it once more.")
            built, result = builder.rebuild(what, engines, files, _progress)
        for name, passed in variants.build(what, built.folder, files) if build_it else ():
            _progress(f"Variant {name} {'is ready' if passed else 'failed its gate and will not run'}.")
        if os.access(release, os.W_OK):  # in a container only the agent may write there; it does the same
            builder.link(release, built, result, files)
    _report(built, result, as_json)
    if not result.passed:
        raise typer.Exit(1)


def _cannot_load(result: GateResult) -> bool:
    return any(check.metric == builder.LOADS and not check.ok for check in result.checks)


def _report(built: builder.Built, result: GateResult, as_json: bool) -> None:
    for check in result.checks:
        mark = "ok    " if check.ok else "FAILED"
        _progress(f"{mark} {check.metric} {check.value} (threshold {check.threshold}): {check.text}.")
    gate = result.document()
    body = {"key": built.key, "built": built.built, "seconds": built.seconds, "bytes": built.size_bytes, "gate": gate}
    typer.echo(visible_json(body) if as_json else f"{built.key} {gate['verdict']}")


@app.command("list", epilog=click_epilog("homeport engine list"))
def list_command(root: ROOT = None, as_json: JSON = False) -> None:
    """List the engines on this robot."""
    folders = sorted(folder for folder in Layout.at(root).engines.glob("[!.]*") if folder.is_dir())
    rows = [_describe(folder) for folder in folders]
    lines = [
        f"{row['key']}  {row['verdict']}  {row['backend']} {row['precision']}  {row['bytes']} bytes" for row in rows
    ]
    for line in [visible_json(rows)] if as_json else map(visible, lines):
        typer.echo(line)


@app.command(epilog=click_epilog("homeport engine gc --root ~/robot"))
def gc(root: ROOT = None, as_json: JSON = False) -> None:
    """Remove engines that no release links to, damaged ones, and what interrupted builds left."""
    layout = Layout.at(root)
    with builder.lock(layout.engines):
        removed = builder.collect(layout, time.time())
    for line in [visible_json(removed)] if as_json else map(visible, removed):
        typer.echo(line)


@app.command(epilog=click_epilog("homeport engine show 9f86d081884c"))
def show(key: Annotated[str, typer.Argument(help="Engine key, or its first characters.")], root: ROOT = None) -> None:
    """Print what an engine was built from and its gate result, as JSON."""
    engines = Layout.at(root).engines
    found = sorted(each for each in engines.glob(f"{key}*") if not each.suffix) if key.isalnum() else []
    if len(found) != 1:
        raise NotFoundError(f"{engines}: {len(found)} engines begin with {key[:80]!r}; `engine list` shows all of them")
    paths = [path for name in (builder.KEY_FILE, builder.GATE_FILE) if (path := found[0] / name).exists()]
    parts = {path.name: parse(path.read_bytes(), path.name) for path in paths}
    typer.echo(visible_json({**_describe(found[0]), "files": parts}, indent=2))


def _describe(folder: Path) -> dict[str, object]:
    gate = folder / builder.GATE_FILE
    try:
        found = builder.check(folder, folder.name)
        known = Reader(parse(gate.read_bytes(), gate.name), gate.name) if gate.exists() else None
        verdict = known.text("verdict") if known else "not proved"
    except HomeportError:
        return {"key": folder.name, "verdict": "damaged", "bytes": 0, "backend": None, "precision": None}
    made = {"backend": found.backend, "precision": found.precision}
    return {"key": folder.name, "verdict": verdict, "bytes": found.size_bytes, **made}


def _progress(text: str) -> None:
    typer.echo(visible(text), err=True)


def main() -> None:
    """Run the commands; an error is one line on stderr and its own exit code."""
    try:
        app(prog_name="python -m stack.engine")
    except HomeportError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os._exit(1)
