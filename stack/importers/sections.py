"""The parts of a drafted vla.toml that every kind of checkpoint has, each with comments that say where its values are
from.

Nothing is invented: a value that neither the checkpoint nor a file beside it says is "?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_registry.authoring import UNKNOWN
from model_registry.core.contract import SCHEMA
from model_registry.core.contract.actions import RELATIVES, SPACES, UNITS
from model_registry.core.contract.observation import NORMALISATIONS, PARTS
from stack.importers.hints import TOKENIZER, Hints, bare
from stack.importers.toml_text import TomlTable

STATISTICS = "norm_stats.json"
_POSITION = "position"
_RELATIVE = f"one of {', '.join(RELATIVES)}: whether actions are differences"


@dataclass(frozen=True)
class Described:
    """A value and where it is from; without a value it is unknown, and the comment says where it was looked for."""

    value: object
    why: str

    @classmethod
    def unknown(cls, why: str) -> Described:
        return cls(UNKNOWN, why)


@dataclass(frozen=True)
class ActionDraft:
    """What is known of the actions. `width`: how many numbers one has; `low` and `high` in the training data."""

    width: int | None
    horizon: Described
    execute_steps: Described
    normalise: Described
    relative: Described = field(default_factory=lambda: Described.unknown(_RELATIVE))
    low: Sequence[float] = field(default=())
    high: Sequence[float] = field(default=())


@dataclass(frozen=True)
class StateDraft:
    """What is known of the state: how many numbers the network takes, and how they are normalised."""

    width: int
    normalise: Described
    frames: int = 1
    every_s: Described = field(default_factory=lambda: Described.unknown("the seconds between two frames"))
    pad_to: int | None = None


@dataclass(frozen=True)
class TextDraft:
    """What is known of words. `named`: a tokenizer that is named and not stored in the checkpoint."""

    length: int | None
    dtype: str
    mask: str | None
    template: Described
    pad_side: str | None = None
    named: str | None = None


def head(name: str | None, version: str, statistics: str | None, hints: Hints) -> TomlTable:
    """The keys at the top."""
    table = TomlTable("")
    table.add("schema", SCHEMA)
    table.add("name", name or UNKNOWN, "" if name else "the model's name, such as yard/pilot; no --name was given")
    table.add("version", version)
    table.add("requires", [])
    body = UNKNOWN if hints.robot is None else hints.robot.embodiment
    table.add("embodiment", body, "the kind of body, as robot.toml calls it" if body == UNKNOWN else "by --robot")
    table.add("licence", UNKNOWN, "of the weights, such as Apache-2.0")
    if statistics is None:
        table.add("statistics", None, f'where action or state is normalised: statistics = "{STATISTICS}"')
    else:
        table.add("statistics", statistics)
    return table


def state(draft: StateDraft, hints: Hints) -> TomlTable:
    """What the body measures of itself."""
    table = TomlTable("observation.state")
    names, of = _named(hints.names("observation.state"), draft.width)
    why = (
        "names by --dataset"
        if names
        else f"{draft.width} names in the order of the input; {hints.missing('--dataset')}"
    )
    units = [hints.unit(name) or UNKNOWN for name in names] if names else [UNKNOWN]
    if UNKNOWN in units:
        why += f"; units: {hints.missing('--robot')}"
    if of == UNKNOWN:
        why += f"; of: {', '.join(PARTS)}"
    table.add("parts", _parts(names, units, of), why)
    table.add("normalise", draft.normalise.value, draft.normalise.why)
    if draft.frames > 1:
        table.add("frames", list(range(1 - draft.frames, 1)))
        table.add("every_s", draft.every_s.value, draft.every_s.why)
    if draft.pad_to is not None:
        table.add("pad_to", draft.pad_to, "the network takes more numbers than the body has: zeros behind them")
    return table


def _parts(names: Sequence[str], units: Sequence[str], of: str) -> list[Mapping[str, object]]:
    """One part for each run of numbers with the same unit."""
    if not names:
        return [{"of": UNKNOWN, "names": UNKNOWN, "unit": UNKNOWN}]
    parts: list[dict[str, list[str] | str]] = []
    for name, unit in zip(names, units, strict=True):
        last = parts[-1] if parts else {"names": [], "unit": ""}
        if parts and last["unit"] == unit and isinstance(last["names"], list):
            last["names"].append(name)
        else:
            parts.append({"of": of, "names": [name], "unit": unit})
    return list(parts)


def _named(names: Sequence[str], width: int | None) -> tuple[list[str], str]:
    """Names of so many numbers, and joint_position where LeRobot's endings say so; none where they do not fit."""
    if width is None or len(names) != width:
        return [], UNKNOWN
    found = [bare(name) for name in names]
    stems = [stem for stem, _ in found]
    if all(kind == _POSITION for _, kind in found) and len(set(stems)) == len(stems):
        return stems, "joint_position"
    return list(names), UNKNOWN


def state_names(width: int | None, hints: Hints) -> tuple[list[str], str]:
    """The names of a state's numbers and what they are of, as `action_names`."""
    return _named(hints.names("observation.state"), width)


def action_names(width: int | None, hints: Hints) -> list[str]:
    """The names of an action's dimensions, where a dataset says them and their number fits."""
    return _named(hints.names("action"), width)[0]


def action(draft: ActionDraft, hints: Hints) -> TomlTable:
    """What comes out."""
    table = TomlTable("action")
    names, of = _named(hints.names("action"), draft.width)
    told = "by the names of --dataset" if of != UNKNOWN else f"one of {', '.join(SPACES)}"
    table.add("space", of, told)
    table.add("relative", draft.relative.value, draft.relative.why)
    rows, why = _dimensions(draft, names, hints)
    table.add("dims", rows, why)
    table.add("normalise", draft.normalise.value, draft.normalise.why)
    table.add("horizon", draft.horizon.value, draft.horizon.why)
    table.add("execute_steps", draft.execute_steps.value, draft.execute_steps.why)
    fps = None if hints.dataset is None else hints.dataset.fps
    why = f"actions a second; {hints.missing('--dataset')}" if fps is None else "the fps of --dataset"
    table.add("control_hz", UNKNOWN if fps is None else fps, why)
    return table


def _dimensions(draft: ActionDraft, names: Sequence[str], hints: Hints) -> tuple[list[Mapping[str, object]], str]:
    """One row for each number of an action, and what is said above them."""
    rows: list[Mapping[str, object]] = []
    for index in range(draft.width or 1):
        name = names[index] if names else UNKNOWN
        low = draft.low[index] if draft.low else UNKNOWN
        high = draft.high[index] if draft.high else UNKNOWN
        rows.append({"name": name, "unit": hints.unit(name) or UNKNOWN, "min": low, "max": high})
    said = ["names by --dataset" if names else f"names in the order of the columns: {hints.missing('--dataset')}"]
    if any(row["unit"] == UNKNOWN for row in rows):
        said.append(f"unit: one of {', '.join(UNITS)}")
    said.append(
        "min and max: the ends of the training data; slots cut what goes beyond, so widen them where more is right"
        if draft.low
        else "min and max: the most that may be commanded; slots cut what goes beyond"
    )
    return rows, "; ".join(said)


def text(draft: TextDraft, hints: Hints) -> TomlTable:
    """How words become tokens."""
    table = TomlTable("observation.text")
    words = hints.words
    missing = hints.missing("--tokenizer")
    named = "" if draft.named is None else f"the tokenizer.json of {draft.named!r}, which the policy names; "
    table.add("tokenizer", TOKENIZER if words else UNKNOWN, "" if words else f"{named}{missing}")
    table.add("length", UNKNOWN if draft.length is None else draft.length, "tokens that the network takes")
    table.add("dtype", draft.dtype)
    pad_id = None if words is None else words.pad_id
    table.add("pad_id", UNKNOWN if pad_id is None else pad_id, f"of the token that fills up; {missing}")
    side = draft.pad_side or (None if words is None else words.pad_side)
    table.add("pad_side", side or UNKNOWN, "" if side else f"right or left; {missing}")
    table.add("template", draft.template.value, draft.template.why)
    if draft.mask is not None:
        table.add("mask", draft.mask)
    closed = "true: words that the tokenizer does not know move nothing; false: it knows every text"
    table.add("closed", words.closed if words else UNKNOWN, closed)
    return table


def normalise_unknown(what: str) -> Described:
    """For graphs that do not say whether they normalise themselves."""
    return Described.unknown(f"one of {', '.join(NORMALISATIONS)}: {what}")
