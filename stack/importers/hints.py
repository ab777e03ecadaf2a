"""What a checkpoint does not hold and files beside it may say: joints and rate of a dataset, units of a robot, words.

dataset = Dataset.load(Path("meta/info.json"))     LeRobot's; stats.json beside it, where there is one
words = Words.load(Path("tokenizer.json"))         of the library tokenizers
hints = Hints(dataset=dataset, words=words, robot=Robot.load(Path("robot.toml")))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_registry.core.documents import parse
from model_registry.core.errors import NotFoundError, UsageError
from model_registry.core.robot import Robot

STATE = "observation.state"
ACTION = "action"
STATS = "stats.json"
_MOST_BYTES = 64 << 20
_PADDING = ("<pad>", "[PAD]", "<|pad|>", "<PAD>")
_SETTINGS = "tokenizer_config.json"
TOKENIZER = "tokenizer.json"
Numbers = dict[str, list[float]]


@dataclass(frozen=True)
class Dataset:
    """A dataset's meta/info.json: `names` by feature, in order; `statistics`: feature → such as mean → numbers."""

    file: Path
    fps: float | None
    names: Mapping[str, tuple[str, ...]]
    statistics: Mapping[str, Numbers] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> Dataset:
        """Raises NotFoundError or UsageError naming the file."""
        document = read_object(file)
        features = document.get("features")
        if not isinstance(features, dict):
            raise UsageError(f"{file}: has no features; name the meta/info.json of a LeRobot dataset")
        names = {key: _names(feature.get("names")) for key, feature in features.items() if isinstance(feature, dict)}
        fps = document.get("fps")
        beside = file.with_name(STATS)
        return cls(
            file=file,
            fps=float(fps) if isinstance(fps, (int, float)) and fps > 0 else None,
            names={key: found for key, found in names.items() if found},
            statistics=_statistics(read_object(beside)) if beside.is_file() else {},
        )


@dataclass(frozen=True)
class Words:
    """A tokenizer.json, with the tokenizer_config.json beside it. `pad_id` and `pad_side` are None where they do not
    say; `closed`: there are words that it does not know.
    """

    file: Path
    pad_id: int | None
    pad_side: str | None
    closed: bool

    @classmethod
    def load(cls, file: Path) -> Words:
        """Raises NotFoundError or UsageError naming the file."""
        document = read_object(file)
        model = document.get("model")
        if not isinstance(model, dict):
            raise UsageError(f"{file}: has no model; name a tokenizer.json, as Tokenizer.save of tokenizers writes it")
        given = document.get("padding")
        padding = given if isinstance(given, dict) else {}
        side = padding.get("direction")
        return cls(
            file=file,
            pad_id=_pad_id(document, padding, _pad_token(file.with_name(_SETTINGS))),
            pad_side=side.lower() if isinstance(side, str) else None,
            closed=bool(model.get("unk_token")) and not _knows_all(document, model),
        )

    @classmethod
    def named(cls, name: object) -> Words | None:
        """Of a tokenizer that a checkpoint names, where that is a folder here; None where it is not."""
        file = Path(name) / TOKENIZER if isinstance(name, str) and name else None
        return cls.load(file) if file is not None and file.is_file() else None


@dataclass(frozen=True)
class Hints:
    """What was given beside the checkpoint."""

    dataset: Dataset | None = None
    words: Words | None = None
    robot: Robot | None = None

    def names(self, feature: str) -> tuple[str, ...]:
        """The names of a feature's numbers in the dataset; none where nothing says them."""
        return () if self.dataset is None else self.dataset.names.get(feature, ())

    def unit(self, joint: str) -> str | None:
        """The unit of a joint, where robot.toml has it by this name."""
        settings = None if self.robot is None else self.robot.sensors.joints.get(joint)
        return None if settings is None else settings.unit

    def camera(self, name: str) -> str:
        """What has to be done so that the robot finds a camera of this name, as the end of a comment."""
        if self.robot is None or self.robot.sensors.camera(name) is not None:
            return ""
        have = ", ".join(self.robot.sensors.cameras)
        alias = f"give it the name {name} in robot.toml, [cameras.alias]"
        return f"; {self.robot.name} has {have}: call it so here, or {alias}"

    def missing(self, option: str) -> str:
        """Where a value would have come from, for a comment: what was given did not say, or nothing was given."""
        return f"no {option} was given" if self.given()[option] is None else f"{option} does not say it"

    def given(self) -> dict[str, object]:
        """Each option and what it gave."""
        return {"--dataset": self.dataset, "--tokenizer": self.words, "--robot": self.robot}


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object that somebody else wrote. Raises NotFoundError or UsageError naming the file."""
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        raise NotFoundError(f"{file}: cannot be read ({error.strerror}); name a file that is there") from error
    if size > _MOST_BYTES:
        raise UsageError(f"{file}: {size} bytes, at most {_MOST_BYTES} are read; name the right file")
    document = parse(data, str(file), _MOST_BYTES)
    if not isinstance(document, dict):
        raise UsageError(f"{file}: expected a JSON object; name the right file")
    return document


def bare(name: str) -> tuple[str, str | None]:
    """A joint without LeRobot's ending, and what that says: shoulder.pos is the position of shoulder."""
    stem, _, ending = name.rpartition(".")
    kind = {"pos": "position", "vel": "velocity"}.get(ending)
    return (stem, kind) if stem and kind else (name, None)


def _names(value: object) -> tuple[str, ...]:
    """`names` of a feature: a list, or groups of lists such as {"motors": […]}."""
    if isinstance(value, dict):
        groups = [_names(child) for child in value.values() if isinstance(child, list)]
        return tuple(name for group in groups for name in group)
    if isinstance(value, list) and all(isinstance(child, str) for child in value):
        return tuple(value)
    return ()


def _statistics(document: Mapping[str, Any]) -> dict[str, Numbers]:
    """The rows of numbers in a dataset's stats.json; those of images are nested deeper and left out."""
    found: dict[str, Numbers] = {}
    for feature, rows in document.items():
        if not isinstance(rows, dict):
            continue
        plain = {key: row for key, row in rows.items() if _is_row(row)}
        if plain:
            found[feature] = {key: [float(number) for number in row] for key, row in plain.items()}
    return found


def _is_row(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(number, (int, float)) for number in value)


def _pad_token(settings: Path) -> str | None:
    """The token that fills up, in the tokenizer_config.json of the library transformers: a text, or an object."""
    if not settings.is_file():
        return None
    token = read_object(settings).get("pad_token")
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _pad_id(document: Mapping[str, Any], padding: Mapping[str, Any], token: str | None) -> int | None:
    given = padding.get("pad_id")
    if isinstance(given, int):
        return given
    wanted = _PADDING if token is None else (token,)
    added = document.get("added_tokens")
    for each in added if isinstance(added, list) else []:
        if isinstance(each, dict) and each.get("content") in wanted and isinstance(each.get("id"), int):
            return int(each["id"])
    vocabulary = document["model"].get("vocab")
    known = [vocabulary.get(word) for word in wanted] if isinstance(vocabulary, dict) else []
    return next((number for number in known if isinstance(number, int)), None)


def _knows_all(document: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether it makes tokens of single bytes, and so of every text."""
    return bool(model.get("byte_fallback")) or "ByteLevel" in json.dumps(document.get("pre_tokenizer"))
