"""`homeport image`: inspect."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from model_registry import inspecting
from model_registry.cli.entry import JsonOption, group_of, result, transfer
from model_registry.core.examples import click_epilog
from model_registry.core.release import image_l4t, misfit
from model_registry.core.visible import visible

app = group_of("Look into container images.", "homeport image inspect homeport/stack:0.2.0-cpu")
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


@app.callback()
def _group() -> None:
    """Look into container images."""


@app.command(
    epilog=click_epilog(
        "homeport image inspect homeport/stack:0.2.0-cpu",
        "homeport image inspect homeport/stack:0.2.0-jp6 --arch arm64 --row jp6 --l4t 36.4.3",
    )
)
def inspect(
    reference: Annotated[str, typer.Argument(help="An image that the engine here has: NAME:TAG or its ID.")],
    arch: Annotated[str | None, typer.Option("--arch", help="Of the robot; without it, this machine's.")] = None,
    row: Annotated[str | None, typer.Option("--row", help="Of the robot, such as jp6.")] = None,
    l4t: Annotated[str | None, typer.Option("--l4t", help="Of the robot, such as 36.4.3.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print where the bytes of an image go, its labels, and whether a robot can run it."""
    with inspecting.engine() as client, transfer(f"Reading {reference}") as progress:
        image = inspecting.inspect(client, reference, progress)
    here = arch or _ARCHES.get(platform.machine(), platform.machine())
    reason = misfit(image.labels, image.architecture, here, row, l4t)
    if reason is None and l4t is None and (known := image_l4t(image.labels)):
        reason = f"it was made for L4T {', '.join(known)}; give --l4t of the robot"
    fields = {**asdict(image), "fits": reason is None, "reason": reason}
    lines = [f"{reference}  {image.id}", f"{size_text(image.bytes)}  {image.architecture}", "", "Layers"]
    lines += [*table(image.layers), "", "Items of 10 MB or more", *table(image.items), "", "Labels"]
    lines += [f"  {key}={value}" for key, value in sorted(image.labels.items())]
    lines += ["", "Fits" if reason is None else f"Does not fit: {reason}"]
    result(fields, as_json, "\n".join(map(visible, lines)))


def table(parts: Iterable[inspecting.ImagePart]) -> list[str]:
    """One line for each part: size, then what it is."""
    return [f"  {size_text(part.bytes):>9}  {part.name[:140]}" for part in parts]


def size_text(count: int) -> str:
    """Bytes in decimal units, as engines and registries count."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
