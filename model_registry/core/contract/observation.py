"""What a model wants to see: each observation of a contract, and the tensor that is prepared from it.

An observation is named by its source: `cameras.<name>`, `goal`, `state`, `text`, `text.mask`, `lidar`, `noise`,
`prefix` and `delay`. Graphs name these sources for their inputs (`graphs.py`); `stack/engine/preparation.py` makes the
tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from model_registry.core.contract.cameras import CameraRecipe, TensorType, check_id, check_size, read_frames
from model_registry.core.documents import Reader, as_integer
from model_registry.core.errors import UsageError
from model_registry.core.paths import check_path

STATISTICS = {"none": (), "mean_std": ("mean", "std"), "min_max": ("min", "max"), "quantiles": ("q01", "q99")}
"""Kind of normalisation → the statistics that it takes of each number."""
NORMALISATIONS = tuple(STATISTICS)
PARTS = ("joint_position", "joint_velocity", "effort", "gripper", "base_velocity")
_SLOT = "{text}"


@dataclass(frozen=True)
class StatePart:
    """Some numbers of a state: what they are, of which joints or directions, and in which unit."""

    of: str
    names: tuple[str, ...]
    unit: str

    @classmethod
    def read(cls, reader: Reader) -> StatePart:
        part = cls(reader.text("of", PARTS), reader.texts("names"), reader.text("unit"))
        if not part.names or len(set(part.names)) != len(part.names):
            raise UsageError(f"{reader.path}.names: name each number of the state once")
        return part

    @property
    def keys(self) -> tuple[str, ...]:
        """Names that are unique in a state, such as joint_position.elbow: the statistics are listed under them."""
        return tuple(f"{self.of}.{name}" for name in self.names)


@dataclass(frozen=True)
class StateRecipe:
    """What the body measures of itself, in the order of `parts`: float32 [1, width] or [1, frames, width].

    `normalise` says how numbers in their units become what the network wants; columns up to `pad_to` are 0.
    """

    parts: tuple[StatePart, ...]
    normalise: str = "none"
    frames: tuple[int, ...] = (0,)
    every_s: float = 0.0
    pad_to: int = 0

    @classmethod
    def read(cls, reader: Reader) -> StateRecipe:
        frames, every_s = read_frames(reader)
        made = cls(
            parts=reader.objects("parts", StatePart.read),
            normalise=reader.text_or("normalise", "none", NORMALISATIONS),
            frames=frames,
            every_s=every_s,
            pad_to=reader.integer("pad_to", 1) if reader.has("pad_to") else 0,
        )
        keys = made.keys
        if not keys or len(set(keys)) != len(keys):
            raise UsageError(f"{reader.path}.parts: name each number of the state once, and at least one")
        if made.pad_to and made.pad_to < len(keys):
            raise UsageError(f"{reader.path}.pad_to: {made.pad_to} is less than the {len(keys)} numbers of the parts")
        check_size(reader.path, made.tensor)
        return made

    @property
    def keys(self) -> tuple[str, ...]:
        """Each number of the state, in order."""
        return tuple(key for part in self.parts for key in part.keys)

    @property
    def units(self) -> dict[str, str]:
        """Each number of the state and its unit."""
        return {key: part.unit for part in self.parts for key in part.keys}

    @property
    def tensor(self) -> TensorType:
        series = [len(self.frames)] if len(self.frames) > 1 else []
        return TensorType("float32", (1, *series, self.pad_to or len(self.keys)))


@dataclass(frozen=True)
class TextRecipe:
    """How words become tokens [1, length]: put into `template`, made tokens by the tokenizer file, cut, filled up.

    `mask` is the element type of a second tensor, 1 where there are tokens; None: no graph gets one. In a `closed`
    vocabulary words that the tokenizer does not know move nothing; an open one knows every text.
    """

    tokenizer: str
    length: int
    dtype: str = "int64"
    pad_id: int = 0
    pad_side: str = "right"
    template: str = _SLOT
    mask: str | None = None
    closed: bool = True

    @classmethod
    def read(cls, reader: Reader) -> TextRecipe:
        template = reader.text_or("template", _SLOT)
        if template.count(_SLOT) != 1:
            raise UsageError(f"{reader.path}.template: {template!r} must hold {_SLOT} once, where the words go")
        made = cls(
            tokenizer=check_path(reader.text("tokenizer"), f"{reader.path}.tokenizer"),
            length=reader.integer("length", 1),
            dtype=reader.text_or("dtype", "int64", ("int64", "int32")),
            pad_id=reader.integer("pad_id") if reader.has("pad_id") else 0,
            pad_side=reader.text_or("pad_side", "right", ("left", "right")),
            template=template,
            mask=reader.text("mask", ("bool", "int64", "int32", "float32")) if reader.has("mask") else None,
            closed=reader.boolean("closed") if reader.has("closed") else True,
        )
        check_size(reader.path, made.tensor)
        return made

    @property
    def tensor(self) -> TensorType:
        return TensorType(self.dtype, (1, self.length))


@dataclass(frozen=True)
class LidarRecipe:
    """The nearest range in each of `sectors` equal angles, divided by `max_range_m`: float32 [1, sectors] in 0..1."""

    sectors: int
    max_range_m: float

    @classmethod
    def read(cls, reader: Reader) -> LidarRecipe:
        made = cls(reader.integer("sectors", 1), reader.number("max_range_m", 0.01))
        check_size(reader.path, made.tensor)
        return made

    @property
    def tensor(self) -> TensorType:
        return TensorType("float32", (1, self.sectors))


@dataclass(frozen=True)
class NoiseRecipe:
    """Normally distributed numbers, the same ones for the same release and frame."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def read(cls, reader: Reader) -> NoiseRecipe:
        made = cls(reader.items("shape", as_integer), reader.text_or("dtype", "float32", ("float32", "float16")))
        if not made.shape or any(size < 1 for size in made.shape):
            raise UsageError(f"{reader.path}.shape: {list(made.shape)} holds no numbers; give sizes of 1 or more")
        check_size(reader.path, made.tensor)
        return made

    @property
    def tensor(self) -> TensorType:
        return TensorType(self.dtype, self.shape)


@dataclass(frozen=True)
class Observations:
    """Everything that a model looks at. At least one of them is there.

    `prefix` is how many of the actions still to come when the frame arrived are given, as the network gives them
    [1, prefix, dims], zero behind the last; 0: none. `delay`: whether it is told [1] how many of them will probably
    have been executed when the new chunk is ready. Both are for real-time chunking.
    """

    cameras: dict[str, CameraRecipe] = field(default_factory=dict)
    goal: CameraRecipe | None = None
    state: StateRecipe | None = None
    text: TextRecipe | None = None
    lidar: LidarRecipe | None = None
    noise: NoiseRecipe | None = None
    prefix: int = 0
    delay: bool = False

    @classmethod
    def read(cls, reader: Reader) -> Observations:
        made = cls(
            cameras=_cameras(reader.child("cameras")) if reader.has("cameras") else {},
            goal=CameraRecipe.read(reader.child("goal")) if reader.has("goal") else None,
            state=StateRecipe.read(reader.child("state")) if reader.has("state") else None,
            text=TextRecipe.read(reader.child("text")) if reader.has("text") else None,
            lidar=LidarRecipe.read(reader.child("lidar")) if reader.has("lidar") else None,
            noise=NoiseRecipe.read(reader.child("noise")) if reader.has("noise") else None,
            prefix=reader.integer("prefix", 1) if reader.has("prefix") else 0,
            delay=reader.boolean("delay") if reader.has("delay") else False,
        )
        if not (made.cameras or made.state or made.lidar):
            raise UsageError(
                f"{reader.path}: a policy that sees neither a camera, a state nor a lidar acts blindly; name at least "
                "one of cameras, state and lidar"
            )
        if made.goal is not None and len(made.goal.frames) != 1:
            raise UsageError(f"{reader.path}.goal.frames: a goal is one image; leave it away")
        return made

    def tensors(self, dims: int) -> dict[str, TensorType]:
        """Every source and the tensor that is prepared for it; `dims` is how many numbers an action has."""
        found = {f"cameras.{name}": camera.tensor for name, camera in self.cameras.items()}
        kinds = (("goal", self.goal), ("state", self.state), ("text", self.text))
        kinds += (("lidar", self.lidar), ("noise", self.noise))  # type: ignore[assignment]
        found |= {name: recipe.tensor for name, recipe in kinds if recipe is not None}
        if self.text is not None and self.text.mask is not None:
            found["text.mask"] = TensorType(self.text.mask, self.text.tensor.shape)
        if self.prefix:
            found["prefix"] = TensorType("float32", (1, self.prefix, dims))
        if self.delay:
            found["delay"] = TensorType("int64", (1,))
        return found


def _cameras(reader: Reader) -> dict[str, CameraRecipe]:
    cameras = {}
    for name in reader.names():
        check_id(name, reader.path)
        cameras[name] = CameraRecipe.read(reader.child(name))
    return cameras
