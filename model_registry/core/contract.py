"""The contract of a model, `vla.json`: what it takes, what it gives, in which units, and the goldens that prove it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_integer, as_number, as_text, parse
from model_registry.core.errors import IncompatibleError, IntegrityError, NotFoundError, UsageError
from model_registry.core.paths import check_path
from model_registry.core.release import check_name, check_version
from model_registry.core.robot import Robot

FILE_NAME = "vla.json"
LANGUAGE = "language"
KNOWN_FEATURES = frozenset({LANGUAGE})
SEMANTICS = {"image": "float32", "lidar": "float32", "text": "int64", "prefix": "float32", "delay": "int64"}
BASE_DIMENSIONS = ("linear_x", "angular_z")


@dataclass(frozen=True)
class Input:
    """One input tensor. `semantic` says what goes in: see SEMANTICS.

    prefix: the actions still to come when the frame arrived, as the network gives them [1, steps, dims], zero behind
    the last; delay: how many of them will probably have been executed when the new chunk is ready. Both are for
    real-time chunking.
    """

    name: str
    semantic: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def read(cls, reader: Reader) -> Input:
        semantic = reader.text("semantic", SEMANTICS)
        dtype = reader.text("dtype", (SEMANTICS[semantic],))
        return cls(reader.text("name"), semantic, dtype, reader.items("shape", as_integer))


@dataclass(frozen=True)
class Dimension:
    """One action dimension with its unit and largest range."""

    name: str
    unit: str
    min: float
    max: float

    @classmethod
    def read(cls, reader: Reader) -> Dimension:
        return cls(reader.text("name"), reader.text("unit"), reader.number("min"), reader.number("max"))


@dataclass(frozen=True)
class Golden:
    """Inputs, the actions they must give, and for each precision the largest difference, in an action's own unit."""

    path: str
    tolerance: dict[str, float]

    @classmethod
    def read(cls, reader: Reader) -> Golden:
        return cls(_path(reader, "path"), reader.table("tolerance", as_number))


@dataclass(frozen=True)
class ImageRecipe:
    """Resize to width × height pixels by `resize` (area or linear), RGB, (pixel/255 − mean)/std per channel."""

    width: int
    height: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str

    @classmethod
    def read(cls, image: Reader) -> ImageRecipe:
        image.text("color", ("RGB",))
        mean, std = image.items("mean", as_number), image.items("std", as_number)
        resize = image.text("resize", ("area", "linear")) if image.has("resize") else "area"
        return cls(image.integer("width", 1), image.integer("height", 1), mean, std, resize)


@dataclass(frozen=True)
class Contract:
    """A parsed `vla.json`. Times in seconds follow from `control_hz`; horizon and execute_steps count actions.

    `advisory` names one more column behind the action's dimensions, 0..1, 1 is safe: a metric, never a guard.
    `variants` are folders that each hold a whole smaller model for the same actions. `language` is what a graph of its
    own makes of the words, where there is one: the other graph takes it in place of the words (`parts`).
    """

    name: str
    version: str
    embodiment: str
    camera_roles: tuple[str, ...]
    graphs: dict[str, str]
    language: Input | None
    inputs: tuple[Input, ...]
    output: str
    output_shape: tuple[int, ...]
    image: ImageRecipe
    lidar_sectors: int
    lidar_max_range_m: float
    tokenizer: str
    token_length: int
    normalization: str
    action_space: str
    dims: tuple[Dimension, ...]
    horizon: int
    execute_steps: int
    control_hz: float
    calibration: tuple[str, ...]
    advisory: str | None
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
        reader = Reader(parse(data, FILE_NAME), FILE_NAME)
        reader.schema()
        if unknown := sorted(set(reader.texts("requires")) - KNOWN_FEATURES):
            raise IncompatibleError(
                f"{FILE_NAME}.requires: this program does not know {unknown[0]!r}; update Homeport here"
            )
        contract = cls._read(reader)
        reader.done()
        contract._check()
        return contract

    @classmethod
    def _read(cls, reader: Reader) -> Contract:
        body, output, action = reader.child("embodiment"), reader.child("output"), reader.child("action")
        preprocess, tokenizer = reader.child("preprocess"), reader.child("tokenizer")
        lidar, (graphs, language) = preprocess.child("lidar"), _components(reader)
        output.text("dtype", ("float32",))
        return cls(
            name=check_name(reader.text("name"), f"{FILE_NAME}.name"),
            version=check_version(reader.text("version"), f"{FILE_NAME}.version"),
            embodiment=body.text("type"),
            camera_roles=body.texts("camera_roles"),
            graphs=graphs,
            language=language,
            inputs=reader.objects("inputs", Input.read),
            output=output.text("name"),
            output_shape=output.items("shape", as_integer),
            image=ImageRecipe.read(preprocess.child("image")),
            lidar_sectors=lidar.integer("sectors", 1),
            lidar_max_range_m=lidar.number("max_range_m", 0.01),
            tokenizer=_path(tokenizer, "path"),
            token_length=tokenizer.integer("length", 1),
            normalization=_path(reader.child("normalization"), "path"),
            action_space=action.text("space", ("base_velocity", "joint_position", "joint_velocity")),
            dims=action.objects("dims", Dimension.read),
            horizon=action.integer("horizon", 1),
            execute_steps=action.integer("execute_steps", 1),
            control_hz=action.number("control_hz", 0.1, 1000.0),
            calibration=reader.texts("calibration") if reader.has("calibration") else (),
            advisory=action.text("advisory") if action.has("advisory") else None,
            variants=reader.items("variants", _folder) if reader.has("variants") else (),
            goldens=reader.objects("goldens", Golden.read),
            files=reader.table("files", Digest.parse),
            licence=reader.text("licence"),
        )

    def _check(self) -> None:
        width = len(self.dims) + int(self.advisory is not None)
        if self.output_shape != (1, self.horizon, width):
            raise UsageError(
                f"{FILE_NAME}.output.shape: {list(self.output_shape)} does not match horizon {self.horizon} and "
                f"{width} action dimensions"
            )
        for item in self.inputs:
            self._check_input(item)
        if self.execute_steps > self.horizon:
            raise UsageError(
                f"{FILE_NAME}.action.execute_steps: {self.execute_steps} is more than the horizon of {self.horizon}"
            )
        semantics = {item.name: item.semantic for item in self.inputs}
        if self.language and (self.language.name in semantics or [*semantics.values()].count("text") != 1):
            raise UsageError(
                f"{FILE_NAME}.components: {self.language.name} must take the place of one input of text, under a name "
                "of its own; export it like that"
            )
        if not self.goldens:
            raise UsageError(f"{FILE_NAME}.goldens: a model without goldens cannot be proved; add at least one")
        for path in self.files:
            check_path(path, f"{FILE_NAME}.files")
        vectors = (*self.calibration, *(golden.path for golden in self.goldens))
        named = [*self.graphs.values(), self.tokenizer, self.normalization, *vectors]
        if missing := [path for path in named if path not in self.files]:
            raise UsageError(f"{FILE_NAME}.files: {missing[0]!r} is used and not listed with its digest")

    def _check_input(self, item: Input) -> None:
        steps = item.shape[1] if len(item.shape) > 1 else 0
        wanted = {
            "image": (1, 3, self.image.height, self.image.width),
            "lidar": (1, self.lidar_sectors),
            "text": (1, self.token_length),
            "prefix": (1, steps, len(self.dims)),
            "delay": (1,),
        }[item.semantic]
        if item.shape != wanted:
            raise UsageError(
                f"{FILE_NAME}.inputs: {item.name} is {list(item.shape)}, and what is prepared for it {list(wanted)}; "
                "make them agree"
            )

    def parts(self) -> tuple[Contract, ...]:
        """What each graph takes and gives, in the order they run in; the last one gives the actions."""
        if self.language is None:
            return (self,)
        (first, second), made = self.graphs.items(), self.language
        words = tuple(item for item in self.inputs if item.semantic == "text")
        rest = tuple(made if item.semantic == "text" else item for item in self.inputs)
        understands = replace(self, graphs=dict([first]), inputs=words, output=made.name, output_shape=made.shape)
        return understands, replace(self, graphs=dict([second]), inputs=rest)

    def check_files(self, model: Path) -> None:
        """Hash every file of a model folder. Raises IntegrityError on a wrong, missing or extra file."""
        for path, digest in self.files.items():
            if not (model / path).is_file():
                raise IntegrityError(f"{model}: {path} is missing; fetch the model again")
            digest.check_file(model / path, f"{model}: {path}")
        present = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
        if extra := sorted(present - {*self.files, FILE_NAME, "manifest.json"}):
            raise IntegrityError(f"{model}: {extra[0]} is not listed in {FILE_NAME}; add it there or remove it")

    def check_fits(self, robot: Robot) -> None:
        """Raises IncompatibleError when this model was not made for that robot."""
        if self.embodiment != robot.embodiment:
            raise IncompatibleError(
                f"model {self.name} {self.version} is made for {self.embodiment}, and {robot.name} is a "
                f"{robot.embodiment}; deploy it to robots it was made for"
            )

    @property
    def drives_a_base(self) -> bool:
        """Whether the actions have an output path on a robot of this version."""
        return self.action_space == "base_velocity" and tuple(dim.name for dim in self.dims) == BASE_DIMENSIONS


def _path(reader: Reader, key: str) -> str:
    return check_path(reader.text(key), f"{reader.path}.{key}")


def _folder(value: object, path: str) -> str:
    return check_path(as_text(value, path), path)


def _components(reader: Reader) -> tuple[dict[str, str], Input | None]:
    """The graphs by id, in the order they run in, and what the first one gives to the other one, where it does."""
    found = reader.objects("components", _component)
    made = [features for *_, features in found if features]
    graphs = {name: graph for name, graph, _ in sorted(found, key=lambda each: bool(made) and each[2] is None)}
    if made and (len(made), len(found), len(graphs)) != (1, 2, 2):
        raise UsageError(f"{FILE_NAME}.components: features go from one graph to one other; export two of them")
    return graphs, made[0] if made else None


def _component(reader: Reader) -> tuple[str, str, Input | None]:
    """Its id and its graph, and what it gives to the next graph, if it does."""
    role, features = reader.text("role"), None
    if reader.has("output"):
        output = reader.child("output")
        if role != "llm":
            raise UsageError(f"{output.path}: only a component of role llm gives features; leave it away")
        features = Input(output.text("name"), LANGUAGE, "float32", output.items("shape", as_integer))
    return reader.text("id"), _path(reader, "graph"), features
