"""The first CUDA device through cuda-python: its primary context, one stream, and buffers that are made once.

Importing this raises ImportError where there is no device, which is how a backend that needs one is found not to be
available.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime
from numpy.typing import NDArray

from model_registry.core.errors import HomeportError
from stack.engine.machine import driver_release

_IN = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
_OUT = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost


def call(function: Callable[..., tuple[Any, ...]], *arguments: object) -> tuple[Any, ...]:
    """What a CUDA function returns beside its status. Raises HomeportError naming both."""
    status, *results = function(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        raise HomeportError(f"{function.__name__}: {status}; look at the driver's log (dmesg), then restart the slot")
    return tuple(results)


def _device() -> dict[str, str]:
    """What decides whether an engine of another device would run here. Raises ImportError when there is none."""
    try:
        status, count = runtime.cudaGetDeviceCount()
    except RuntimeError as error:  # what cuda-python 12 says where there is no driver
        raise ImportError(f"no CUDA device ({error})") from error
    if status != runtime.cudaError_t.cudaSuccess or not count:
        raise ImportError(f"no CUDA device ({status})")
    (found,) = call(runtime.cudaGetDeviceProperties, 0)
    name, major, minor, total = (getattr(found, key) for key in ("name", "major", "minor", "totalGlobalMem"))
    return {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "sm": f"{major}{minor}",
        "memory": f"{round(total / 2**30)} GiB",
        "driver": f"{call(runtime.cudaDriverGetVersion)[0]} {driver_release()}".strip(),
    }


DEVICE = _device()


def version() -> str:
    """The runtime's version, such as 13000."""
    return str(call(runtime.cudaRuntimeGetVersion)[0])


def free_bytes() -> int:
    """Memory that can still be taken on the device, now.

    Makes the primary context current, which every library here shares.
    """
    call(runtime.cudaSetDevice, 0)
    return int(call(runtime.cudaMemGetInfo)[0])


class Stream:
    """Copies and kernels in their order, apart from the default stream."""

    def __init__(self) -> None:
        call(runtime.cudaSetDevice, 0)
        self.handle = int(call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)[0])

    def wait(self) -> None:
        call(runtime.cudaStreamSynchronize, self.handle)

    def close(self) -> None:
        call(runtime.cudaStreamDestroy, self.handle)


class Buffer:
    """One tensor on the device and its page-locked counterpart `host` here, both made once."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        kind = np.dtype(dtype)
        self._bytes = math.prod(shape) * kind.itemsize
        self.address = int(call(runtime.cudaMalloc, self._bytes)[0])
        self._pinned = int(call(runtime.cudaMallocHost, self._bytes)[0])
        memory = (ctypes.c_byte * self._bytes).from_address(self._pinned)
        self.host: NDArray[np.generic] = np.ctypeslib.as_array(memory).view(kind).reshape(shape)

    def upload(self, stream: Stream) -> None:
        call(runtime.cudaMemcpyAsync, self.address, self._pinned, self._bytes, _IN, stream.handle)

    def download(self, stream: Stream) -> None:
        call(runtime.cudaMemcpyAsync, self._pinned, self.address, self._bytes, _OUT, stream.handle)

    def close(self) -> None:
        call(runtime.cudaFree, self.address)
        call(runtime.cudaFreeHost, self._pinned)
