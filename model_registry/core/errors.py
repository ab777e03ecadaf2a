"""Every error that Homeport raises on purpose, and the exit code each one ends with.

A message is one line: what failed, on what, why, and what to do next. Whatever foreign text it quotes, nothing in it
is unseen: it may go to any terminal, log or reply as it stands (visible.py).
"""

from __future__ import annotations

from model_registry.core.visible import visible


class HomeportError(Exception):
    """Base of all errors that are shown to a person without a traceback."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(visible(message))


class NotFoundError(HomeportError):
    """A release, model, key or file that was named does not exist."""


class UsageError(HomeportError):
    """An argument, option or configuration key is wrong."""

    exit_code = 2


class DriftError(HomeportError):
    """Something runs that was not asked for, or is not healthy."""

    exit_code = 3


class PartialFleetError(HomeportError):
    """Part of the fleet did what was asked."""

    exit_code = 4


class RefusedError(HomeportError):
    """The request was understood and refused; nothing was changed."""

    exit_code = 5


class IncompatibleError(RefusedError):
    """The release or model does not fit this robot."""


class UntrustedError(RefusedError):
    """No trusted signature covers the document."""


class IntegrityError(RefusedError):
    """Bytes differ from their digest or size."""


class LockedError(HomeportError):
    """Another operation holds the lock."""

    exit_code = 6


class LinkError(HomeportError):
    """A registry could not be reached, or went away in the middle; what arrived is kept, and trying again goes on."""

    exit_code = 7


def from_exit_code(code: int, message: str) -> HomeportError:
    """Rebuild the error that a process ended with, or a socket replied, from its exit code."""
    kinds = (UsageError, DriftError, PartialFleetError, RefusedError, LockedError, LinkError)
    return next((kind for kind in kinds if kind.exit_code == code), HomeportError)(message)
