"""From a LeRobot policy directory to a drafted contract: what its JSON and its statistics say, without PyTorch.

Joint names and the rate are in the dataset, units nowhere: see `hints.py`. Graphs and goldens come with
`homeport model export`, which also takes what is drafted here for true: sizes and steps are read from the same files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model_registry.authoring import AUTHORED, UNKNOWN
from model_registry.core.errors import IncompatibleError, RefusedError
from model_registry.core.files import Files
from model_registry.core.toml import load_toml
from stack.importers import sections
from stack.importers.draft import ContractDraft
from stack.importers.graph_part import to_come
from stack.importers.hints import ACTION, STATE, Hints
from stack.importers.lerobot.directory import POSTPROCESSOR, PREPROCESSOR, PolicyDirectory
from stack.importers.lerobot.normalisation import Levels, Normalisation
from stack.importers.sections import Described
from stack.importers.statistics_file import norm_stats, rows_of, state_rows
from stack.importers.toml_text import TomlTable, path

_AS_RECORDED = "frames of this size are taken as they are; of another size training saw none, and they are stretched"
_ABSOLUTE = "LeRobot commands what comes out; to_state or to_previous where the recorded actions were differences"
_STEPS = "n_action_steps of config.json"
_NEW_LINE = "smolvla_new_line_processor"
_TOKENIZER = "tokenizer_processor"
_HALF = (0.5, 0.5, 0.5)


def draft(directory: PolicyDirectory, hints: Hints, name: str | None, version: str) -> ContractDraft:
    """The contract of a policy directory, as far as its files say. Raises HomeportError naming file and setting."""
    _check_device(directory)
    found = Normalisation.read(directory)
    statistics = None
    normalised = found.state != "none" or found.action != "none"
    widths = _width(directory, "input_features", STATE), _width(directory, "output_features", ACTION)
    states, of = sections.state_names(widths[0], hints)
    actions = sections.action_names(widths[1], hints)
    if normalised and states and actions:
        statistics = _norm_stats(found, actions, states, of)
    head = sections.head(name, version, sections.STATISTICS if normalised else None, hints)
    if normalised and statistics is None:
        head.add("statistics", None, "`homeport model export` makes it, when the names below are known")
    return ContractDraft(
        head=head,
        observation=list(_observation(directory, found, hints, widths[0])),
        action=sections.action(_actions(directory, found, widths[1]), hints),
        graphs=to_come(directory.path.name),
        statistics=statistics,
        exported=True,
    )


def write_statistics(folder: Path, directory: PolicyDirectory) -> None:
    """Write norm_stats.json of a model folder, by the names in its vla.toml. Raises RefusedError while one is "?"."""
    document: dict[str, Any] = load_toml(folder / AUTHORED)
    dims = document.get("action", {}).get("dims", [])
    actions = [str(dim.get("name", UNKNOWN)) for dim in dims]
    parts = document.get("observation", {}).get("state", {}).get("parts", [])
    keys = [f"{part.get('of')}.{each}" for part in parts for each in part.get("names", UNKNOWN)]
    if any(UNKNOWN in key.split(".") for key in (*actions, *keys)):
        raise RefusedError(
            f"{folder / AUTHORED}: statistics are listed by name, and some names of action.dims or "
            f'observation.state.parts are still "{UNKNOWN}"; write them, then export again'
        )
    found = Normalisation.read(directory)
    action_rows = rows_of(actions, found.rows(ACTION))
    rows = rows_of(keys, found.rows(STATE))
    for part, names, made in (("action.dims", actions, action_rows), ("observation.state.parts", keys, rows)):
        if names and not made:
            raise RefusedError(
                f"{folder / AUTHORED}.{part}: {len(names)} names, and the policy has another number of them; make them "
                "agree"
            )
    Files().write(folder / sections.STATISTICS, norm_stats(action_rows, rows))


def _norm_stats(found: Normalisation, actions: list[str], states: list[str], of: str) -> bytes:
    return norm_stats(rows_of(actions, found.rows(ACTION)), state_rows(states, of, found.rows(STATE)))


def _width(directory: PolicyDirectory, features: str, name: str) -> int:
    shape = directory.config[features][name].get("shape")
    if not isinstance(shape, list) or len(shape) != 1 or not isinstance(shape[0], int):
        raise directory.refuse(f"{features}.{name}.shape is {shape}, and one row of numbers is wanted; train it again")
    return int(shape[0])


def _frames(directory: PolicyDirectory) -> int:
    """How many frames one inference sees: only diffusion policies look back."""
    return _number(directory, "n_obs_steps") if directory.type == "diffusion" else 1


def _number(directory: PolicyDirectory, key: str) -> int:
    value = directory.config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise directory.refuse(
            f"{key} is {value!r}, and a whole number of 1 or more is wanted; copy the directory again"
        )
    return value


def _actions(directory: PolicyDirectory, found: Normalisation, width: int) -> sections.ActionDraft:
    """Rows are what LeRobot itself gives for one inference."""
    steps = _number(directory, "n_action_steps")
    rows = _number(directory, "chunk_size") if directory.type in ("act", "smolvla") else steps
    numbers = found.rows(ACTION)
    low, high = (numbers.get(kind, []) for kind in ("min", "max"))
    known = len(low) == len(high) == width
    return sections.ActionDraft(
        width=width,
        horizon=Described(rows, "chunk_size of config.json" if rows != steps else _STEPS),
        execute_steps=Described(steps, _STEPS),
        normalise=Described(found.action, "the postprocessor's, with the statistics beside it"),
        relative=Described("no", _ABSOLUTE),
        low=low if known else (),
        high=high if known else (),
    )


def _observation(directory: PolicyDirectory, found: Normalisation, hints: Hints, width: int) -> Iterator[TomlTable]:
    frames = _frames(directory)
    fps = None if hints.dataset is None else hints.dataset.fps
    why = f"the seconds between two frames; {hints.missing('--dataset')}"
    every_s = Described.unknown(why) if fps is None else Described(1.0 / fps, "one frame of --dataset")
    for name, feature in directory.cameras.items():
        yield _camera(directory, found, name, feature, hints, frames, every_s)
    yield sections.state(
        sections.StateDraft(
            width=width,
            normalise=Described(found.state, "the preprocessor's, with the statistics beside it"),
            frames=frames,
            every_s=every_s,
        ),
        hints,
    )
    if _TOKENIZER in directory.preprocessor:
        yield _text(directory, directory.preprocessor[_TOKENIZER], hints)
    if (shape := _noise(directory)) is not None:
        noise = TomlTable("observation.noise", "what the loop begins with")
        noise.add("shape", shape)
        yield noise


def _noise(directory: PolicyDirectory) -> list[int] | None:
    if directory.type == "smolvla":
        return [1, _number(directory, "chunk_size"), _number(directory, "max_action_dim")]
    if directory.type == "diffusion":
        return [1, _number(directory, "horizon"), _width(directory, "output_features", ACTION)]
    return None


def _camera(
    directory: PolicyDirectory,
    found: Normalisation,
    name: str,
    feature: str,
    hints: Hints,
    frames: int,
    every_s: Described,
) -> TomlTable:
    channels, height, width = _image_shape(directory, feature)
    renamed = directory.renamed.get(feature)
    comment = f"{feature}, [{channels}, {height}, {width}]"
    comment += f", which LeRobot renames from {renamed}" if renamed else ""
    table = TomlTable(path("observation", "cameras", name), f"{comment}{hints.camera(name)}")
    box = directory.config.get("resize_imgs_with_padding") if directory.type == "smolvla" else None
    levels = found.camera(feature)
    if directory.type == "smolvla":
        if levels.mean:
            raise directory.refuse("images of smolvla are normalised by its pipeline too; set VISUAL to IDENTITY")
        levels = Levels(_HALF, _HALF)
    if box is None:
        table.add("width", width, _AS_RECORDED)
        table.add("height", height)
    else:
        _letterbox(directory, table, box)
    if levels.mean:
        table.add("mean", list(levels.mean))
        table.add("std", list(levels.std))
    if frames > 1:
        table.add("frames", list(range(1 - frames, 1)), "n_obs_steps of config.json; 0 is the newest")
        table.add("every_s", every_s.value, every_s.why)
    return table


def _letterbox(directory: PolicyDirectory, table: TomlTable, box: object) -> None:
    """SmolVLA keeps proportions, fills left and above with black, and interpolates in float32."""
    if not isinstance(box, list) or len(box) != 2 or not all(isinstance(size, int) for size in box):
        raise directory.refuse(f"resize_imgs_with_padding is {box!r}, and width and height are wanted; copy it again")
    table.add("width", box[0], "resize_imgs_with_padding of config.json")
    table.add("height", box[1])
    table.add("fit", "letterbox")
    table.add("anchor", "bottom_right", "the padding is on the left and above")
    table.add("pad", 0)
    table.add("resize", "linear_float32")


def _image_shape(directory: PolicyDirectory, feature: str) -> tuple[int, int, int]:
    shape = directory.config["input_features"][feature].get("shape")
    whole = isinstance(shape, list) and len(shape) == 3 and all(isinstance(size, int) for size in shape)
    if not whole or shape[0] != len(_HALF):
        raise directory.refuse(
            f"input_features.{feature}.shape is {shape}, and [3, height, width] is wanted; train it with colour images"
        )
    return shape[0], shape[1], shape[2]


def named_tokenizer(directory: PolicyDirectory) -> str | None:
    """The folder or hub name of the tokenizer that a policy names; its directory does not store one."""
    name = directory.preprocessor.get(_TOKENIZER, {}).get("tokenizer_name")
    return name if isinstance(name, str) else None


def _check_device(directory: PolicyDirectory) -> None:
    for pipeline, steps in ((PREPROCESSOR, directory.preprocessor), (POSTPROCESSOR, directory.postprocessor)):
        kind = steps.get("device_processor", {}).get("float_dtype")
        if kind is not None:
            raise IncompatibleError(
                f"{directory.path / pipeline}: float_dtype {kind!r} of device_processor cuts numbers off; set it to "
                "null and evaluate the policy again"
            )


def _text(directory: PolicyDirectory, settings: Mapping[str, Any], hints: Hints) -> TomlTable:
    length = settings.get("max_length")
    if not isinstance(length, int):
        raise directory.refuse(f"max_length of {_TOKENIZER} is {length!r}, and a number is wanted; copy it again")
    template = "{text}\n" if _NEW_LINE in directory.preprocessor else "{text}"
    words = sections.TextDraft(
        length=length,
        dtype="int64",
        mask="bool",
        template=Described(template, f"the steps of {PREPROCESSOR}"),
        pad_side=settings.get("padding_side"),
        named=named_tokenizer(directory),
    )
    return sections.text(words, hints)
