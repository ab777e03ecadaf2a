"""Counts log lines of one kind instead of writing all of them.

A malformed message at every tick is worth a few lines and a number.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass

_AT_ONCE = 20.0
_PER_S = 1.0
_MOST_MESSAGES = 128
_MOST_SUBJECTS = 16
_LONGEST_SUBJECT = 32

Kind = tuple[str, int, str, str]
"""What makes lines of one kind.

Logger, level, message before its arguments are filled in, and the first argument where that is a short text, such as
the name of a slot.
"""


@dataclass
class _Account:
    """Of one kind: how many lines it may write at once (`left`), and what was held back since the last one."""

    left: float
    at_s: float
    held: int = 0
    last: logging.LogRecord | None = None


class Throttle(logging.Filter):
    """Lets the first 20 lines of a kind pass, then one a second, which says how many like it were held back.

    The last line that was held back is among those that `overdue` returns once it may be written, so that the end of a
    story is never missing.
    """

    def __init__(self, at_once: float = _AT_ONCE, per_s: float = _PER_S) -> None:
        super().__init__()
        self._at_once = at_once
        self._per_s = per_s
        self._accounts: dict[Kind, _Account] = {}
        self._subjects: dict[Kind, set[str]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            now_s = time.monotonic()
            account = self._accounts.setdefault(self._kind(record), _Account(self._at_once, now_s))
            self._earn(account, now_s)
            if account.left < 1.0:
                account.held += record is not account.last
                account.last = record
                return False
            account.left -= 1.0
            held = account.held - (record is account.last)
            account.held = 0
            account.last = None
        if held > 0:
            record.msg = f"{record.msg} (and {held} more like this)"
        return True

    def overdue(self) -> list[logging.LogRecord]:
        """The last line of each kind that was held back and may be written now."""
        with self._lock:
            now_s = time.monotonic()
            for account in self._accounts.values():
                self._earn(account, now_s)
            return [each.last for each in self._accounts.values() if each.last is not None and each.left >= 1.0]

    def release(self) -> list[logging.LogRecord]:
        """Before the process ends: from now on every line passes.

        Returns the last line of each kind that was held back.
        """
        with self._lock:
            self._at_once = self._per_s = math.inf
            held = [each.last for each in self._accounts.values() if each.last is not None]
            for account in self._accounts.values():
                account.left = math.inf
        return held

    def _earn(self, account: _Account, now_s: float) -> None:
        if account.left < self._at_once:
            account.left = min(self._at_once, account.left + (now_s - account.at_s) * self._per_s)
        account.at_s = now_s

    def _kind(self, record: logging.LogRecord) -> Kind:
        """Messages with endlessly many subjects, and endlessly many messages, share one account."""
        kind = (record.name, record.levelno, str(record.msg), "")
        if kind not in self._subjects and len(self._subjects) >= _MOST_MESSAGES:
            return ("", 0, "", "")
        subjects = self._subjects.setdefault(kind, set())
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not isinstance(first, str) or len(first) > _LONGEST_SUBJECT:
            return kind
        if len(subjects) < _MOST_SUBJECTS:
            subjects.add(first)
        return (*kind[:3], first) if first in subjects else kind
