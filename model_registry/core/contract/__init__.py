"""The contract of a model, `vla.json`: what it takes, what it gives, in which units, and the goldens that prove it.

    observation   what the model sees, and how tensors are prepared from it          (observation.py)
    graphs        ONNX files, wired by names, and an optional loop over some of them (graphs.py)
    output        the tensor, rows and columns that the actions are read from        (output.py)
    action        what they are, in units                                            (actions.py)

`homeport model pack` makes it from a commented `vla.toml`, with the digests of all files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract.actions import Actions
from model_registry.core.contract.cameras import TensorType
from model_registry.core.contract.graphs import Graph, Loop, wire
from model_registry.core.contract.observation import Observations
from model_registry.core.contract.output import ActionOutput
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_number, as_text, parse
from model_registry.core.errors import IncompatibleError, IntegrityError, NotFoundError, UsageError
from model_registry.core.paths import check_path
from model_registry.core.release import check_name, check_version

FILE_NAME = "vla.json"
SCHEMA = 2
KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Golden:
    """Raw observations and the actions they must give.

    `tolerance`: for each precision the largest difference of each dimension, in its own unit.
    """

    path: str
    tolerance: dict[str, tuple[float, ...]]

    @classmethod
    def read(cls, reader: Reader, dims: int) -> Golden:
        def each(value: object, path: str) -> tuple[float, ...]:
            """One number for all dimensions, or a list of one for each."""
            if not isinstance(value, list):
                return (as_number(value, path),) * dims
            if len(value) != dims:
                raise UsageError(
                    f"{path}: {len(value)} numbers for {dims} dimensions; give one for each, or one for all"
                )
            return tuple(as_number(item, path) for item in value)

        made = cls(_path(reader, "path"), reader.table("tolerance", each))
        if any(number <= 0.0 for numbers in made.tolerance.values() for number in numbers):
            raise UsageError(f"{reader.path}.tolerance: no engine is as exact as 0; give numbers above it")
        return made


@dataclass(frozen=True)
class Contract:
    """A parsed `vla.json`.

    `statistics` names the file with means and ranges that normalising needs, where anything is normalised. `variants`
    are folders that each hold a whole smaller model for the same actions.
    """

    name: str
    version: str
    embodiment: str
    observation: Observations
    graphs: tuple[Graph, ...]
    loop: Loop | None
    output: ActionOutput
    statistics: str | None
    action: Actions
    calibration: tuple[str, ...]
    variants: tuple[str, ...]
    goldens: tuple[Golden, ...]
    files: dict[str, Digest]
    licence: str

    @classmethod
    def load(cls, model: Path) -> Contract:
        """Read `vla.json` of a model folder. Raises NotFoundError or UsageError."""
        try:
            data = (model / FILE_NAME).read_bytes()
        except OSError as error:
            raise NotFoundError(
                f"{model}: no readable {FILE_NAME} ({error.strerror}); this is not a model folder"
            ) from error
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> Contract:
        """Raises UsageError naming the field; an unknown required feature is refused."""
        return cls.read(Reader(parse(data, FILE_NAME), FILE_NAME))

    @classmethod
    def read(cls, reader: Reader) -> Contract:
        """The same from an opened document, whose path is in the messages."""
        reader.schema(SCHEMA)
        if unknown := sorted(set(reader.texts("requires")) - KNOWN_FEATURES):
            raise IncompatibleError(
                f"{reader.path}.requires: this program does not know {unknown[0]!r}; update Homeport here"
            )
        contract = cls._read(reader)
        reader.done()
        contract._check_files(reader.path)
        return contract

    @classmethod
    def _read(cls, reader: Reader) -> Contract:
        path = reader.path
        observation = Observations.read(reader.child("observation"))
        action = Actions.read(reader.child("action"))
        if observation.prefix > action.horizon:
            raise UsageError(
                f"{path}.observation.prefix: {observation.prefix} is more than the horizon of {action.horizon}; no "
                "more actions than that are still to come, so give it at most that"
            )
        action.check_relative(f"{path}.action", observation.state)
        dims = len(action.dims)
        loop = Loop.read(reader.child("loop")) if reader.has("loop") else None
        graphs, results = wire(reader.objects("graphs", Graph.read), observation.tensors(dims), loop, path)
        output = ActionOutput.read(reader.child("output"), dims)
        output.check(f"{path}.output", results, dims, action.horizon)
        return cls(
            name=check_name(reader.text("name"), f"{path}.name"),
            version=check_version(reader.text("version"), f"{path}.version"),
            embodiment=reader.text("embodiment"),
            observation=observation,
            graphs=graphs,
            loop=loop,
            output=output,
            statistics=_path(reader, "statistics") if reader.has("statistics") else None,
            action=action,
            calibration=reader.texts("calibration") if reader.has("calibration") else (),
            variants=reader.items("variants", _folder) if reader.has("variants") else (),
            goldens=reader.objects("goldens", lambda each: Golden.read(each, dims)),
            files=reader.table("files", Digest.parse),
            licence=reader.text("licence"),
        )

    def _check_files(self, path: str) -> None:
        state = self.observation.state
        normalised = self.action.normalise != "none" or (state is not None and state.normalise != "none")
        if normalised and self.statistics is None:
            raise UsageError(f"{path}.statistics: missing; numbers are normalised, name the file with their statistics")
        for name in self.files:
            check_path(name, f"{path}.files")
        if missing := [name for name in self.named_files() if name not in self.files]:
            raise UsageError(f"{path}.files: {missing[0]!r} is used and is not among them; put it into the folder")

    def named_files(self) -> tuple[str, ...]:
        """Every file that the contract names: graphs, tokenizer, statistics, calibration data, goldens."""
        text = self.observation.text
        single = (text.tokenizer if text else None, self.statistics)
        vectors = (*self.calibration, *(golden.path for golden in self.goldens))
        return (*(graph.path for graph in self.graphs), *(name for name in single if name), *vectors)

    @property
    def sources(self) -> dict[str, TensorType]:
        """Every observation by its source name, and the tensor that is prepared for it."""
        return self.observation.tensors(len(self.action.dims))

    def check_files(self, model: Path) -> None:
        """Hash every file of a model folder. Raises IntegrityError on a wrong, missing or extra file."""
        for path, digest in self.files.items():
            if not (model / path).is_file():
                raise IntegrityError(f"{model}: {path} is missing; fetch the model again")
            digest.check_file(model / path, f"{model}: {path}")
        present = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
        if extra := sorted(present - {*self.files, FILE_NAME, "manifest.json"}):
            raise IntegrityError(f"{model}: {extra[0]} is not listed in {FILE_NAME}; add it there or remove it")


def contract_text(document: object) -> bytes:
    """vla.json as it is packed: readable, and the same bytes for the same document."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def _path(reader: Reader, key: str) -> str:
    return check_path(reader.text(key), f"{reader.path}.{key}")


def _folder(value: object, path: str) -> str:
    return check_path(as_text(value, path), path)
