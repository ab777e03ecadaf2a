"""Lines of a log that nobody else can have written.

What is logged quotes documents, answers and exceptions of others. A record stays one line and everything in it is
visible (visible.py); a traceback has its lines indented, so that none of them looks like a record.
"""

from __future__ import annotations

import logging
from types import TracebackType

from model_registry.core.visible import visible, visible_lines

Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LineFormatter(logging.Formatter):
    """A formatter of `logging` with the promise above."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))

    def formatException(self, ei: Raised) -> str:
        return "\n".join(f"  {line}" for line in visible_lines(super().formatException(ei)).split("\n"))
