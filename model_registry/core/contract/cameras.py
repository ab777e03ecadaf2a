"""What is prepared from one camera, and what all recipes of an observation share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from model_registry.core.documents import Reader, as_integer, as_number
from model_registry.core.errors import UsageError

FITS = ("stretch", "letterbox", "crop")
ANCHORS = ("centre", "top_left", "bottom_right")
RESIZES = ("area", "linear", "linear_float32")
NUMBERS = ("float32", "float16")
"""Types of tensors that actions can be read from."""
MOST_FRAMES = 32
LONGEST_LOOK_S = 10.0
"""How far back a policy may look: a slot keeps every frame of that time."""
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MOST_NUMBERS = 1 << 26
"""Elements of one prepared tensor: 256 MiB of float32."""


@dataclass(frozen=True)
class TensorType:
    """Element type in numpy's words, and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CameraRecipe:
    """How frames of one camera become a tensor.

    A frame of any size is brought to width × height pixels: `stretch` changes its proportions; `letterbox` keeps all of
    it, where `anchor` says it sits, and fills the rest with the level `pad`; `crop` cuts away what is too wide or too
    high around `anchor`. `resize` averages areas, or interpolates the four nearest pixels, in whole levels (`linear`)
    or in float32 (`linear_float32`). A level becomes (level/divisor − mean)/(std + 1e-8), by channel; without mean and
    std it stays level/divisor. `uint8` keeps the levels.

    `frames` are the wanted frames, oldest first: 0 is the newest and −n the one about n × every_s seconds before it.
    Several are put behind each other along a new axis, or as more channels (`stack`).
    """

    width: int
    height: int
    fit: str = "stretch"
    anchor: str = "centre"
    pad: int = 0
    resize: str = "area"
    color: str = "RGB"
    layout: str = "NCHW"
    dtype: str = "float32"
    divisor: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    frames: tuple[int, ...] = (0,)
    every_s: float = 0.0
    stack: str = "axis"

    @classmethod
    def read(cls, reader: Reader) -> CameraRecipe:
        mean = reader.items("mean", as_number) if reader.has("mean") else ()
        std = reader.items("std", as_number) if reader.has("std") else ()
        frames, every_s = read_frames(reader)
        made = cls(
            width=reader.integer("width", 1),
            height=reader.integer("height", 1),
            fit=reader.text_or("fit", "stretch", FITS),
            anchor=reader.text_or("anchor", "centre", ANCHORS),
            pad=reader.integer("pad") if reader.has("pad") else 0,
            resize=reader.text_or("resize", "area", RESIZES),
            color=reader.text_or("color", "RGB", ("RGB", "BGR", "GRAY")),
            layout=reader.text_or("layout", "NCHW", ("NCHW", "NHWC")),
            dtype=reader.text_or("dtype", "float32", ("float32", "float16", "uint8")),
            divisor=reader.number_or("divisor", 255.0, 1e-6, 65535.0),
            mean=mean,
            std=std,
            frames=frames,
            every_s=every_s,
            stack=reader.text_or("stack", "axis", ("axis", "channels")),
        )
        made._check(reader.path)
        return made

    def _check(self, path: str) -> None:
        if self.pad > 255:
            raise UsageError(f"{path}.pad: {self.pad} is no level of a pixel; give 0 to 255")
        if bool(self.mean) != bool(self.std) or len(self.mean) not in (0, self.channels):
            raise UsageError(
                f"{path}: mean and std need {self.channels} numbers each, one for each channel of {self.color}; or "
                "leave both away"
            )
        if any(number <= 0.0 for number in self.std):
            raise UsageError(f"{path}.std: a spread of 0 or less says nothing; give one above 0 for each channel")
        if self.dtype == "uint8" and (self.mean or self.divisor != 255.0):
            raise UsageError(f"{path}: a uint8 image keeps its levels; leave mean, std and divisor away")
        check_size(path, self.tensor)

    @property
    def channels(self) -> int:
        return 1 if self.color == "GRAY" else 3

    @property
    def tensor(self) -> TensorType:
        """What is prepared: [1, channels, height, width], or as `layout`, `frames` and `stack` say."""
        count = len(self.frames)
        channels = self.channels * (count if self.stack == "channels" else 1)
        places = {"N": 1, "C": channels, "H": self.height, "W": self.width}
        image = [places[letter] for letter in self.layout[1:]]
        series = [count] if count > 1 and self.stack == "axis" else []
        return TensorType(self.dtype, (1, *series, *image))


def read_frames(reader: Reader) -> tuple[tuple[int, ...], float]:
    """Which frames are wanted, oldest first and the newest last, and how many seconds lie between two of them."""
    if not reader.has("frames"):
        return (0,), 0.0
    frames = reader.items("frames", as_integer)
    if not frames or frames[-1] != 0 or list(frames) != sorted(set(frames)) or len(frames) > MOST_FRAMES:
        raise UsageError(
            f"{reader.path}.frames: {list(frames)[:8]} must rise, end with 0, the newest frame, and have at most "
            f"{MOST_FRAMES}; write [-1, 0] for the newest and the one before"
        )
    if len(frames) == 1:
        return frames, 0.0
    every_s = reader.number("every_s", 0.001, 10.0)
    if -frames[0] * every_s > LONGEST_LOOK_S:
        raise UsageError(
            f"{reader.path}.frames: {frames[0]} at {every_s:g} s each is {-frames[0] * every_s:g} s ago, and a slot "
            f"keeps {LONGEST_LOOK_S:g} s; look back less"
        )
    return frames, every_s


def check_id(text: str, path: str) -> str:
    """A name for a camera or a graph. Raises UsageError."""
    if not _ID.fullmatch(text):
        raise UsageError(
            f"{path}: {text[:80]!r} is no name; use at most 64 letters, digits and _, and begin with a letter"
        )
    return text


def check_size(path: str, tensor: TensorType) -> None:
    """Raises UsageError where a prepared tensor would not fit on a robot."""
    if math.prod(tensor.shape) > MOST_NUMBERS:
        raise UsageError(f"{path}: {list(tensor.shape)} are more numbers than a robot prepares; at most {MOST_NUMBERS}")
