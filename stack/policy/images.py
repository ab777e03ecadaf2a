"""Camera frames of the common encodings as RGB arrays, without copying where the bytes allow it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_registry.core.errors import HomeportError
from stack.policy.cdr import Image

_MAX_PIXELS = 1 << 25
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


class UnsupportedImageError(HomeportError):
    """A frame that cannot be shown to the network."""


def rgb(image: Image) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], a view of the frame for rgb8, bgr8, rgba8, bgra8 and mono8. Raises UnsupportedImageError.

    Rows may be longer than their pixels (`step`); what is behind them is left out.
    """
    channels = _CHANNELS.get(image.encoding)
    if channels is None:
        raise UnsupportedImageError(
            f"camera: encoding {image.encoding[:40]!r} is not supported; publish one of {', '.join(_CHANNELS)}"
        )
    height, width, step = image.height, image.width, image.step
    if not 0 < height * width <= _MAX_PIXELS:
        raise UnsupportedImageError(f"camera: {width}x{height} is no usable size; check the driver's settings")
    if step < width * channels or len(image.data) < step * (height - 1) + width * channels:
        raise UnsupportedImageError(
            f"camera: {len(image.data)} bytes with step {step} do not hold {width}x{height} {image.encoding}; check the driver"
        )
    pixels = np.ndarray((height, width, channels), np.uint8, image.data, strides=(step, channels, 1))
    if channels == 1:
        return np.broadcast_to(pixels, (height, width, 3))
    return pixels[:, :, 2::-1] if image.encoding.startswith("bgr") else pixels[:, :, :3]
