"""Who else writes `/cmd_vel`: everything heard there that this supervisor did not say itself.

Publishers are not counted: one that was killed stays visible for 20 s, and one that is silent does no harm. The middleware numbers the messages of
each writer, so a message is our own when its number and its values are those of one we sent.
"""

from __future__ import annotations

from stack.supervisor.limits import Command

_REMEMBERED = 256


class Writers:
    """`sent` is called by the tick thread before it publishes, `foreign` by the thread that receives."""

    def __init__(self) -> None:
        self._count = 0
        self._sent: dict[int, Command] = {}

    def sent(self, command: Command) -> None:
        self._count += 1
        self._sent[self._count] = command
        self._sent.pop(self._count - _REMEMBERED, None)

    def foreign(self, number: int | None, command: Command) -> bool:
        """Whether somebody else wrote this. A middleware that does not number messages leaves only the values to tell by."""
        if number is None:
            return command not in list(self._sent.values())
        return self._sent.get(number) != command
