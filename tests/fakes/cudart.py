"""The CUDA runtime in this process's own memory, behind the names and signatures of the real `cuda.bindings.runtime`.

The real module can be imported without a driver; what it has, and how it is called, is asked of it at every use.
"""

from __future__ import annotations

import ctypes
import inspect
from types import ModuleType, SimpleNamespace
from typing import Any

FREE, TOTAL = 6 << 30, 8 << 30


class Runtime(ModuleType):
    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__)
        self._real = real
        self._memory: dict[int, Any] = {}
        self.used: set[str] = set()
        self.live = self.made = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._real, name)
        self.used.add(name)
        if isinstance(value, type) or not callable(value):
            return value
        signature, work = inspect.signature(value), getattr(_Work, name)

        def run(*arguments: Any, **named: Any) -> tuple[Any, ...]:
            signature.bind(*arguments, **named)
            result = work(self, *arguments)
            return (self._real.cudaError_t.cudaSuccess, *result)

        run.__name__ = name
        return run


class _Work:
    @staticmethod
    def cudaGetDeviceCount(here: Runtime) -> tuple[int]:
        return (1,)

    @staticmethod
    def cudaGetDeviceProperties(here: Runtime, device: int) -> tuple[Any]:
        known = {
            name: getattr(here._real.cudaDeviceProp, name) for name in ("name", "major", "minor", "totalGlobalMem")
        }
        assert len(known) == 4
        return (SimpleNamespace(name=b"Orin", major=8, minor=7, totalGlobalMem=TOTAL),)

    @staticmethod
    def cudaDriverGetVersion(here: Runtime) -> tuple[int]:
        return (13000,)

    cudaRuntimeGetVersion = cudaDriverGetVersion

    @staticmethod
    def cudaSetDevice(here: Runtime, device: int) -> tuple[()]:
        return ()

    @staticmethod
    def cudaMemGetInfo(here: Runtime) -> tuple[int, int]:
        return FREE - sum(len(memory) for memory in here._memory.values()), TOTAL

    @staticmethod
    def cudaMalloc(here: Runtime, size: int) -> tuple[int]:
        memory = (ctypes.c_byte * size)()
        here.made += 1
        here._memory[ctypes.addressof(memory)] = memory
        return (ctypes.addressof(memory),)

    cudaMallocHost = cudaMalloc

    @staticmethod
    def cudaFree(here: Runtime, address: int) -> tuple[()]:
        del here._memory[address]
        return ()

    cudaFreeHost = cudaFree

    @staticmethod
    def cudaStreamCreateWithFlags(here: Runtime, flags: int) -> tuple[int]:
        here.live += 1
        here.made += 1
        return (4711,)

    @staticmethod
    def cudaStreamDestroy(here: Runtime, stream: int) -> tuple[()]:
        here.live -= 1
        return ()

    @staticmethod
    def cudaStreamSynchronize(here: Runtime, stream: int) -> tuple[()]:
        assert stream == 4711
        return ()

    @staticmethod
    def cudaMemcpyAsync(here: Runtime, target: int, source: int, size: int, kind: Any, stream: int) -> tuple[()]:
        assert isinstance(kind, here._real.cudaMemcpyKind) and stream == 4711
        ctypes.memmove(target, source, size)
        return ()
