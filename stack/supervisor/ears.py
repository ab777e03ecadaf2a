"""Takes messages from a subscription together with the identity of who published them, which rclpy does not tell.

An e-stop button that lets go must not release another one's, and a second scanner must not be taken for the first: for
that the supervisor needs the publisher's GID, which `rcl_take_serialized_message` has always given and rclpy's
`take_message` leaves out. `Ear` calls that function itself, on the subscription that rclpy made. It never blocks and
needs no executor.

    ear = Ear(subscription.handle)
    while (heard := ear.take()) is not None: …
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_uint64, c_void_p
from functools import cache, partial
from typing import NamedTuple, Protocol

from model_registry.core.errors import NotFoundError

GID_BYTES = 16
_GID_STORAGE = 24
"""What Humble stores of a GID; Jazzy has 16 bytes at the same place."""
_OK = 0
_NOTHING_TAKEN = 401
_KEPT_BYTES = 65_536
"""A buffer that a longer message needed is given back."""
_LONGEST = 1_048_576
"""No input of the supervisor is longer; of one that is, this many bytes are looked at."""


class HeardSample(NamedTuple):
    """One message as it was sent (CDR bytes).

    With its publisher's GID, its number among that publisher's, and its arrival (ROS time, ns).
    """

    data: bytes
    publisher: bytes
    number: int
    received_ns: int


class Handle(Protocol):
    """`Subscription.handle` of rclpy: while it is entered, it is not destroyed."""

    @property
    def pointer(self) -> int: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> object: ...


class _Allocator(Structure):
    _fields_ = tuple((name, c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state"))


class _Serialized(Structure):
    _fields_ = (
        ("buffer", c_void_p),
        ("length", c_size_t),
        ("capacity", c_size_t),
        ("allocator", _Allocator),
    )


class _Info(Structure):
    """rmw_message_info_t."""

    _fields_ = (
        ("source_timestamp", c_int64),
        ("received_timestamp", c_int64),
        ("publication_sequence_number", c_uint64),
        ("reception_sequence_number", c_uint64),
        ("implementation_identifier", c_char_p),
        ("gid", c_uint8 * _GID_STORAGE),
        ("from_intra_process", c_bool),
    )


class _Gid(Structure):
    """rmw_gid_t."""

    _fields_ = (("implementation_identifier", c_char_p), ("data", c_uint8 * _GID_STORAGE))


@cache
def _rcl() -> ctypes.PyDLL:
    """The library that rclpy has loaded already.

    Its calls keep the interpreter's lock: they take microseconds, and getting the lock back may take longer.
    """
    try:
        rcl = ctypes.PyDLL("librcl.so")
        # Not part of rcl itself: found through the libraries that it is linked to.
        rcl.rcutils_get_default_allocator.restype = _Allocator
        rcl.rcutils_uint8_array_init.argtypes = (POINTER(_Serialized), c_size_t, POINTER(_Allocator))
        rcl.rcutils_uint8_array_resize.argtypes = (POINTER(_Serialized), c_size_t)
        rcl.rcl_take_serialized_message.argtypes = (c_void_p, POINTER(_Serialized), POINTER(_Info), c_void_p)
        rcl.rcl_publisher_get_rmw_handle.argtypes = (c_void_p,)
        rcl.rcl_publisher_get_rmw_handle.restype = c_void_p
        rcl.rmw_get_gid_for_publisher.argtypes = (c_void_p, POINTER(_Gid))
        rcl.rmw_get_gid_for_publisher.restype = c_int
    except (OSError, AttributeError) as error:
        raise NotFoundError(f"librcl.so: {error}; install ROS 2 with its rcl library, then start again") from error
    return rcl


class Ear:
    """One subscription, asked for what has come. It is held from now on: rclpy destroys it after `close`."""

    def __init__(self, handle: Handle) -> None:
        rcl = _rcl()
        self._handle = handle
        handle.__enter__()
        self._info, self._message = _Info(), _Serialized()
        self._message.allocator = allocator = rcl.rcutils_get_default_allocator()
        rcl.rcutils_uint8_array_init(byref(self._message), 256, byref(allocator))
        self._resize = partial(rcl.rcutils_uint8_array_resize, byref(self._message), _KEPT_BYTES)
        # It is asked at every tick, mostly for nothing: everything that stays the same is made once.
        what = c_void_p(handle.pointer), byref(self._message), byref(self._info), None
        self._take = partial(rcl.rcl_take_serialized_message, *what)
        self._gid = ctypes.addressof(self._info) + _Info.gid.offset

    def take(self) -> HeardSample | None:
        """The oldest message that was not taken yet; None when there is none."""
        if (told := self._take()) != _OK:
            if told != _NOTHING_TAKEN:
                raise RuntimeError(f"rcl_take_serialized_message returned {told}; restart the supervisor")
            return None
        message = self._message
        info = self._info
        data = ctypes.string_at(message.buffer, min(message.length, _LONGEST))
        if message.capacity > _KEPT_BYTES:
            self._resize()
        publisher = ctypes.string_at(self._gid, GID_BYTES)
        return HeardSample(data, publisher, info.publication_sequence_number, info.received_timestamp)

    def close(self) -> None:
        """Ask no more."""
        self._handle.__exit__(None, None, None)


def gid_of(handle: Handle) -> bytes:
    """The GID of a publisher, by its `handle` of rclpy."""
    gid = _Gid()
    with handle:
        told = _rcl().rmw_get_gid_for_publisher(_rcl().rcl_publisher_get_rmw_handle(handle.pointer), byref(gid))
    if told != _OK:
        raise RuntimeError(f"rmw_get_gid_for_publisher returned {told}; restart the supervisor")
    return bytes(gid.data)[:GID_BYTES]
