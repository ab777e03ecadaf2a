"""What a library says is wrong, short enough for a message.

Libraries put what they were doing first (a path, a C++ signature) and what is wrong last. So a long reason is cut at
its front, never at its end, and the whole of it goes to the log.

    reason(error)               one line, at most LENGTH characters
    reason(error, "/a/b.onnx")  the same without that path, which the message names already
"""

from __future__ import annotations

import logging

from model_registry.core.visible import visible

LENGTH = 400
_CUT = "… "

log = logging.getLogger(__name__)


def reason(error: object, *said: str) -> str:
    """The telling end of `error` on one line, without the texts in `said`, which the message has already."""
    whole = visible(" ".join(str(error).split()))
    text = whole
    for each in said:
        text = text.replace(each, "…")
    if len(text) <= LENGTH:
        return text
    log.warning("%s", whole)
    end = text[len(_CUT) - LENGTH :]
    return _CUT + end.partition(" ")[2] if " " in end[:80] else _CUT + end
