"""From frames to network inputs: the same code in training, in the proof on the device and on the driving robot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract.cameras import CameraRecipe
from stack.engine.observing import Frame

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "linear_float32": cv2.INTER_LINEAR}
_EPSILON = np.float32(1e-8)  # as LeRobot: a channel that never changes divides by this
_LEVELS = 256

Canvas = NDArray[Any]


class _Place(NamedTuple):
    """Which part of a frame is taken, and where it sits on the canvas: rows and columns of both."""

    source: tuple[slice, slice]
    target: tuple[slice, slice]


class ImagePreprocessor:
    """Turns frames into the tensor of a recipe, in one buffer that it keeps; copy the result to hold on to it."""

    def __init__(self, recipe: CameraRecipe) -> None:
        self._recipe = recipe
        self._exact = recipe.resize == "linear_float32"
        self._how = _INTERPOLATION[recipe.resize]
        self._tables = [_table(recipe, channel) for channel in range(recipe.channels)]
        self._size = (0, 0)
        self._fitted = _fit(recipe, recipe.height, recipe.width)
        self._canvases: dict[int, Canvas] = {}
        self._planes = [np.empty((recipe.height, recipe.width), dtype=np.uint8) for _ in range(4)]
        self._buffer: NDArray[Any] = np.empty(recipe.tensor.shape, dtype=recipe.tensor.dtype)
        self._views = _views(self._buffer, recipe)

    def __call__(self, frames: Sequence[Frame]) -> NDArray[Any]:
        """As many frames as the recipe wants, oldest first -> its tensor, valid until the next call."""
        for frame, views in zip(frames, self._views, strict=True):
            self._fill(frame, views)
        return self._buffer

    def _fill(self, frame: Frame, views: Sequence[NDArray[Any]]) -> None:
        canvas = self._resized(frame.pixels)
        if self._exact:
            self._fill_exactly(canvas, frame.order, views)
            return
        planes = self._split(canvas, frame.order)
        for plane, table, view in zip(planes, self._tables, views, strict=True):
            if table is None:
                view[...] = plane
            elif table.dtype == np.float32 and view.flags.c_contiguous:
                cv2.LUT(plane, table, dst=view)
            else:
                view[...] = table[0][plane]

    def _resized(self, pixels: NDArray[np.uint8]) -> Canvas:
        """The frame on the canvas of the recipe's size, in its own channels."""
        channels = pixels.shape[2]
        canvas = self._canvas(channels)
        place = self._place(pixels.shape[0], pixels.shape[1])
        part: NDArray[Any] = pixels[place.source]
        if channels == 1:
            part = part[:, :, 0]  # OpenCV drops that axis
        if self._exact:
            part = part.astype(np.float32)
        target = canvas[place.target]
        size = (target.shape[1], target.shape[0])
        cv2.resize(part, size, dst=target, interpolation=self._how)
        return canvas

    def _canvas(self, channels: int) -> Canvas:
        if channels not in self._canvases:
            size = (self._recipe.height, self._recipe.width)
            shape = size if channels == 1 else (*size, channels)
            dtype = np.float32 if self._exact else np.uint8
            self._canvases[channels] = np.full(shape, self._recipe.pad, dtype=dtype)
        return self._canvases[channels]

    def _place(self, height: int, width: int) -> _Place:
        if (height, width) != self._size:
            self._size = (height, width)
            self._fitted = _fit(self._recipe, height, width)
            for canvas in self._canvases.values():  # what another size left around the picture
                canvas[...] = self._recipe.pad
        return self._fitted

    def _split(self, canvas: Canvas, order: Sequence[int]) -> Sequence[NDArray[np.uint8]]:
        """One plane for each channel of the recipe."""
        if canvas.ndim == 2:
            return [canvas] * self._recipe.channels
        planes = self._planes[: canvas.shape[2]]
        cv2.split(canvas, planes)
        red, green, blue = (planes[place] for place in order)
        if self._recipe.color == "RGB":
            return red, green, blue
        if self._recipe.color == "BGR":
            return blue, green, red
        return [cv2.cvtColor(cv2.merge((red, green, blue)), cv2.COLOR_RGB2GRAY)]

    def _fill_exactly(self, canvas: Canvas, order: Sequence[int], views: Sequence[NDArray[Any]]) -> None:
        if canvas.ndim == 2:
            planes = [canvas] * self._recipe.channels
        elif self._recipe.color == "GRAY":
            planes = [cv2.cvtColor(canvas[:, :, list(order)], cv2.COLOR_RGB2GRAY)]
        else:
            ordered = order if self._recipe.color == "RGB" else tuple(reversed(order))
            planes = [canvas[:, :, place] for place in ordered]
        for channel, (plane, view) in enumerate(zip(planes, views, strict=True)):
            view[...] = _normalised(self._recipe, channel, plane)


def _normalised(recipe: CameraRecipe, channel: int, levels: NDArray[Any]) -> NDArray[Any]:
    """Levels float32 of one channel -> what the network wants."""
    if recipe.dtype == "uint8":
        rounded: NDArray[Any] = np.rint(levels)
        return rounded
    values: NDArray[Any] = levels / np.float32(recipe.divisor)
    if recipe.mean:
        values = (values - np.float32(recipe.mean[channel])) / (np.float32(recipe.std[channel]) + _EPSILON)
    return values


def _table(recipe: CameraRecipe, channel: int) -> NDArray[Any] | None:
    """[1, 256]: each level as the network wants it; None where levels stay."""
    if recipe.dtype == "uint8":
        return None
    levels = np.arange(_LEVELS, dtype=np.float32)
    return _normalised(recipe, channel, levels).astype(recipe.dtype)[None, :]


def _views(buffer: NDArray[Any], recipe: CameraRecipe) -> list[list[NDArray[Any]]]:
    """For each frame the planes [height, width] of the buffer that its channels go to."""
    body = (np.moveaxis(buffer, -1, -3) if recipe.layout == "NHWC" else buffer)[0]
    planes = list(body) if body.ndim == 3 else [plane for frame in body for plane in frame]
    size = recipe.channels
    return [planes[frame * size : (frame + 1) * size] for frame in range(len(recipe.frames))]


def _fit(recipe: CameraRecipe, height: int, width: int) -> _Place:
    """How a frame of height × width pixels gets onto the canvas."""
    if recipe.fit == "letterbox":
        ratio = max(width / recipe.width, height / recipe.height)
        inner = max(1, int(height / ratio)), max(1, int(width / ratio))
        whole = (slice(0, height), slice(0, width))
        return _Place(whole, _anchored(recipe.anchor, inner, (recipe.height, recipe.width)))
    canvas = (slice(0, recipe.height), slice(0, recipe.width))
    if recipe.fit == "crop":
        ratio = min(width / recipe.width, height / recipe.height)
        inner = max(1, round(recipe.height * ratio)), max(1, round(recipe.width * ratio))
        return _Place(_anchored(recipe.anchor, inner, (height, width)), canvas)
    return _Place((slice(0, height), slice(0, width)), canvas)


def _anchored(anchor: str, inner: tuple[int, int], outer: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of an inner rectangle in an outer one."""
    room = [most - size for size, most in zip(inner, outer, strict=True)]
    before = {"centre": [gap // 2 for gap in room], "top_left": [0, 0], "bottom_right": room}[anchor]
    rows, columns = (slice(start, start + size) for start, size in zip(before, inner, strict=True))
    return rows, columns
