"""The verbs of `homeport model` that need more than the registry's code: init, export and check."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_registry.authoring import AUTHORED
from model_registry.cli.entry import JsonOption, aligned, result, say
from model_registry.cli.model import app
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.examples import click_epilog
from model_registry.core.robot import Robot

if TYPE_CHECKING:
    from stack.cli.checking import ModelCheck

_MODULES = {"opencv-python-headless": "cv2"}
_RUNNING = ("numpy", "onnx", "onnxruntime", "opencv-python-headless", "tokenizers")


@app.command(
    epilog=click_epilog(
        "homeport model init policy.onnx --out yard-1.0.0 --name yard/pilot",
        "homeport model init prefix.onnx expert.onnx --out arm-1.0.0 --dataset meta/info.json --tokenizer "
        "tokenizer.json --robot robot.toml",
    )
)
def init(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="ONNX files, or one LeRobot policy directory.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the model.")],
    robot: Annotated[Path | None, typer.Option("--robot", help="robot.toml: cameras, joints and their units.")] = None,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="meta/info.json of a LeRobot dataset: joint names and rate.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="tokenizer.json of a model with words.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name, such as yard/pilot.")] = None,
    version: Annotated[str, typer.Option("--version", help="The model's version.")] = "1.0.0",
    as_json: JsonOption = False,
) -> None:
    """Draft vla.toml from a checkpoint: what is not known is "?", with a comment that says where it was looked for."""
    _need("onnx")
    from stack.importers.hints import Dataset, Hints, Words
    from stack.importers.init import init as draft

    hints = Hints(
        dataset=None if dataset is None else Dataset.load(dataset),
        words=None if tokenizer is None else Words.load(tokenizer),
        robot=None if robot is None else Robot.load(robot),
    )
    made = draft(sources, out, hints, name, version)
    count = len(made.unknown)
    say(f'{count} things are not known yet: write them in the place of "?" in {made.folder / AUTHORED}')
    say(f"Next: homeport model check {made.folder}")
    fields = {"folder": str(made.folder), "files": list(made.files), "unknown": list(made.unknown)}
    result(fields, as_json, str(made.folder))


@app.command(
    epilog=click_epilog(
        "homeport model export outputs/pretrained_model --out arm-1.0.0",
        'homeport model export outputs/pretrained_model --out arm-1.0.0 --text "put the cube into the bowl"',
    )
)
def export(
    directory: Annotated[Path, typer.Argument(metavar="LEROBOT_DIR", help="A policy directory of LeRobot.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that `model init` drafted from it.")],
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Words for the goldens of a policy that goes by words.")
    ] = None,
    goldens: Annotated[int, typer.Option("--goldens", min=1, help="How many goldens to make.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What the goldens' observations are made from.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Write ONNX graphs, statistics and goldens of a LeRobot policy into a drafted folder.

    Needs LeRobot and PyTorch, in an environment of your own: pip install 'homeport[lerobot]'.
    """
    _need("torch", "lerobot", "onnx", "onnxscript", "onnxruntime")
    from stack.importers.lerobot.handover import hand_over

    files = hand_over(directory, out, goldens, seed, text or ())
    say(f"Next: homeport model check {out}")
    result({"folder": str(out), "files": list(files)}, as_json, str(out))


@app.command(
    epilog=click_epilog("homeport model check pilot-1.0.0", "homeport model check pilot-1.0.0 --robot robot.toml")
)
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with vla.toml, or vla.json, and the model's files.")],
    robot: Annotated[Path | None, typer.Option("--robot", help="robot.toml that the model must fit.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model's goldens as a slot would, and look into all its files; says everything that is wrong at once.

    Ends with 5 where something is.
    """
    _need(*_RUNNING)
    from stack.cli.checking import check as check_model

    found = check_model(folder, None if robot is None else Robot.load(robot))
    for note in found.notes:
        say(note)
    result(asdict(found), as_json, "\n".join(_lines(found)))
    if found.refusals:
        count = len(found.refusals)
        things = "one thing" if count == 1 else f"{count} things"
        raise RefusedError(f"{found.model}: {things} to fix, named above; then check it again")


def _need(*packages: str) -> None:
    """Raises HomeportError where a package that a verb needs is not installed here."""
    if missing := [name for name in packages if importlib.util.find_spec(_MODULES.get(name, name)) is None]:
        raise HomeportError(f"this Python lacks {' and '.join(missing)}; run pip install {' '.join(missing)}")


def _lines(found: ModelCheck) -> list[str]:
    lines = []
    if found.dimensions:
        rows = [("dimension", "worst", "tolerance", "unit", "golden", "")]
        for each in found.dimensions:
            worst = "not finite" if each.worst is None else f"{each.worst:.3g}"
            figures = (worst, f"{each.tolerance:.3g}")
            rows.append((f"{each.model}{each.name}", *figures, each.unit, each.golden, "" if each.ok else "too far"))
        lines += aligned(rows).splitlines()
    if found.inference_ms is not None and found.cadence_ms is not None:
        lines.append(
            f"{found.goldens} goldens; an inference takes {found.inference_ms:.1f} ms here with one thread, and robots "
            f"have {found.cadence_ms:.0f} ms between two chunks"
        )
    lines += [f"refused: {each}" for each in found.refusals]
    return lines if found.refusals else [*lines, f"{found.model} answers as its goldens say, and can be packed"]
