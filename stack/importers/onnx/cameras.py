"""Image inputs of foreign graphs as cameras: their size is known, and how frames get there is for a person to say."""

from __future__ import annotations

from model_registry.authoring import UNKNOWN
from model_registry.core.contract.cameras import FITS, RESIZES
from stack.importers.hints import Hints
from stack.importers.onnx.guess import Guesses, ImageLayout, InputGuess, image_layout
from stack.importers.toml_text import TomlTable, path

_CAMERA = "cameras."


def renamed(guesses: Guesses, hints: Hints) -> dict[str, str]:
    """Each camera source, and its name in the contract: the robot's, where model and robot have one each."""
    sources = list(dict.fromkeys(each.source for each in guesses.inputs() if each.source.startswith(_CAMERA)))
    own = [] if hints.robot is None else list(hints.robot.sensors.cameras)
    if len(sources) == 1 and len(own) == 1:
        return {sources[0]: own[0]}
    return {source: source.removeprefix(_CAMERA) for source in sources}


def camera(guess: InputGuess, cameras: dict[str, str], hints: Hints) -> TomlTable:
    """The table of one camera, or of the goal."""
    layout = image_layout(guess.end)
    assert layout is not None
    name = cameras.get(guess.source)
    comment = f"input {guess.end.name!r}, {guess.end}: {guess.why}"
    if name is not None:
        comment += hints.camera(name)
    table = TomlTable(path("observation", "goal") if name is None else path("observation", "cameras", name), comment)
    table.add("width", UNKNOWN if layout.width is None else layout.width)
    table.add("height", UNKNOWN if layout.height is None else layout.height)
    table.add("fit", UNKNOWN, f"how a frame of another size gets there: {', '.join(FITS)}")
    table.add("resize", UNKNOWN, f"{', '.join(RESIZES)}: as in training")
    table.add("color", "GRAY" if layout.channels == 1 else UNKNOWN, "" if layout.channels == 1 else "RGB or BGR")
    if layout.layout != "NCHW":
        table.add("layout", layout.layout)
    if guess.end.dtype != "float32":
        table.add("dtype", guess.end.dtype)
    if guess.end.dtype != "uint8":
        _levels(table, layout)
    if layout.frames > 1:
        table.add("frames", list(range(1 - layout.frames, 1)), "oldest first; 0 is the newest")
        table.add("every_s", UNKNOWN, "the seconds between two of them")
        table.add("stack", layout.stack)
    return table


def _levels(table: TomlTable, layout: ImageLayout) -> None:
    table.add("divisor", UNKNOWN, "levels of 0 to 255 are divided by this: 255.0, or 1.0")
    channels = f"one number for each of {layout.channels} channels" if layout.channels > 1 else "one number"
    table.add("mean", UNKNOWN, f"taken away behind that, {channels}; remove mean and std where nothing is")
    table.add("std", UNKNOWN)
