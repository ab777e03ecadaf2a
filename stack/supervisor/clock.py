"""Notices that the ROS clock was set: computers without a clock battery do that after every boot.

A step stops the robot and clears by itself after a second of consistent stamps. It is nobody's fault and never latches.
"""

from __future__ import annotations

from stack.supervisor.settings import Settings

_LONG_AGO = float("-inf")


class ClockWatch:
    """Compares ROS time with monotonic time, both in seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offset: float | None = None
        self._stepped_s = _LONG_AGO
        self._bad_stamp_s = _LONG_AGO

    def update(self, now_s: float, ros_s: float) -> None:
        """Once per tick. Slow drift is followed; a jump is a step."""
        offset = ros_s - now_s
        if self._offset is not None and abs(offset - self._offset) > self._settings.clock_step_s:
            self._stepped_s = now_s
        self._offset = offset

    def excuses(self, now_s: float) -> bool:
        """Note a stamp that does not fit; True when a recent step explains it."""
        if now_s - self._stepped_s >= self._settings.clock_give_up_s:
            return False
        self._bad_stamp_s = now_s
        return True

    def stepped(self, now_s: float) -> bool:
        """Whether stamps cannot be trusted now."""
        settle = self._settings.clock_settle_s
        since_step = now_s - self._stepped_s
        wrong_still = now_s - self._bad_stamp_s < settle and since_step < self._settings.clock_give_up_s
        return since_step < settle or wrong_still
