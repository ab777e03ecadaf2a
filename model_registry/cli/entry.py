"""What every command shares: how it ends, where its result and its progress go."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from model_registry.core.errors import HomeportError
from model_registry.core.examples import click_epilog
from model_registry.core.transfer import PROGRESS
from model_registry.core.version import version
from model_registry.core.visible import visible, visible_json, visible_lines
from model_registry.sources.meter import Meter, parse_rate

SourceOption = Annotated[
    str, typer.Option("--source", envvar="HOMEPORT_SOURCE", help="oci:FOLDER or https://HOST[:PORT]", metavar="SOURCE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
LimitOption = Annotated[
    str | None,
    typer.Option(
        "--limit-rate", envvar="HOMEPORT_LIMIT_RATE", help="At most so many bytes a second: 500K, 20M.", metavar="RATE"
    ),
]
LeastOption = Annotated[
    str | None,
    typer.Option(
        "--min-rate", envvar="HOMEPORT_MIN_RATE", help="Fail where it is slower for 30 s: 50K.", metavar="RATE"
    ),
]
SignersOption = Annotated[
    list[Path], typer.Option("--key", envvar="HOMEPORT_KEY", help="Private key that signs it; repeatable.")
]
KeysOption = Annotated[Path | None, typer.Option("--keys", help="Folder of trusted public keys (<64 hex>.pub).")]


_TELL_S = 1.0


def rate(text: str | None) -> float | None:
    """A rate as it was given, in bytes a second. Raises UsageError."""
    return None if text is None else parse_rate(text)


def app_of(help_text: str, *examples: str) -> typer.Typer:
    """A program, with --debug and --version."""
    app = group_of(help_text, *examples)
    app.callback()(_shared)
    return app


def group_of(help_text: str, *examples: str) -> typer.Typer:
    """A group of verbs in the style of all our commands: plain text, no tracebacks of its own."""
    return typer.Typer(
        help=help_text,
        epilog=click_epilog(*examples),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit


def _shared(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    asked: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """`run` looks for --debug itself, so that it also holds for errors before parsing."""


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code. Errors are one line on stderr."""
    if "--debug" not in arguments:
        sys.excepthook = _internal_error
    try:
        app(args=list(arguments), prog_name=None)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except HomeportError as error:
        return _fail(error, str(error), error.exit_code, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; what arrived is kept, run it again to go on\n")
        return 130
    except OSError as error:
        return _fail(error, f"{error.filename or 'system'}: {error.strerror or error}", 1, arguments)
    return 0


def _internal_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = f"internal error: {kind.__name__}: {error}; run it again with --debug and report it"
    say(f"error: {text}")


def _fail(error: BaseException, message: str, code: int, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        import traceback

        sys.stderr.write(visible_lines("".join(traceback.format_exception(error))))
    say(f"error: {message}")
    return code


def result(fields: Mapping[str, object] | Sequence[Mapping[str, object]], as_json: bool, text: str) -> None:
    """Print what a command found: `text` for people, whose foreign parts are visible already, or `fields` as JSON."""
    typer.echo(visible_json(fields) if as_json else visible_lines(text))


def aligned(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of cells as plain text, one line each."""
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def say(text: str) -> None:
    """One sentence of progress, on stderr."""
    typer.echo(visible(text), err=True)


@contextmanager
def transfer(label: str, limit: float | None = None, least: float | None = None) -> Iterator[Meter]:
    """What counts bytes, with a bar on stderr when a person watches, and lines for a program that does.

    `limit` and `least` are rates in bytes a second, as Meter has them.
    """
    if not sys.stderr.isatty():
        say(f"{label} …")
        yield Meter(_told_to_programs(), limit, least)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(visible(label), total=None)
        yield Meter(lambda meter: bar.update(task, total=meter.total, completed=meter.done), limit, least)


def _told_to_programs() -> Callable[[Meter], None]:
    """Prints `progress: {…}` (core/transfer.py) on stderr once a second, for who has set HOMEPORT_PROGRESS."""
    if not os.environ.get("HOMEPORT_PROGRESS"):
        return lambda meter: None
    told_s = [-_TELL_S]

    def tell(meter: Meter) -> None:
        now_s = time.monotonic()
        if now_s - told_s[0] >= _TELL_S or meter.done == meter.total:
            told_s[0] = now_s
            say(f"{PROGRESS}{visible_json(meter.transfer().document())}")

    return tell
