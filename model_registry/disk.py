"""The disk that models are written to: room that is taken first, writing that begins before anybody waits for it."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

_KEEP_SIZE = 1
_WRITE = 2
_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})


class ModelDisk:
    """What a pull asks of the disk, so that a test can put a smaller one in its place."""

    def free(self, folder: Path) -> int:
        """Bytes that may still be written there."""
        return shutil.disk_usage(folder).free

    def reserve(self, descriptor: int, size: int) -> None:
        """Take the room for a file of `size` bytes. Its length still tells how much of it has arrived.

        File systems that cannot are left alone. Raises OSError (ENOSPC) where the room is not there.
        """
        call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
        if call is None or not size:
            return
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        if call(descriptor, _KEEP_SIZE, 0, size) and ctypes.get_errno() not in _NOT_HERE:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def write(self, descriptor: int, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]

    def begin_writing(self, descriptor: int, offset: int, size: int) -> None:
        """Have the kernel write these bytes now, so that a later fsync finds little to do. No more than a hint."""
        call = getattr(ctypes.CDLL(None), "sync_file_range", None)
        if call is not None:
            call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
            call(descriptor, offset, size, _WRITE)
