"""Log lines of one kind are counted instead of written, and the last one is never missing."""

from __future__ import annotations

import logging

from stack.supervisor.throttle import Throttle
from tests.fakes.ros import wait_until


class Written(logging.Handler):
    """Keeps every line that passes a throttle."""

    def __init__(self, throttle: Throttle) -> None:
        super().__init__()
        self.addFilter(throttle)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def say(self, message: str, *args: object, level: int = logging.INFO) -> None:
        self.handle(logging.LogRecord("test", level, __file__, 1, message, args, None))


def test_a_few_lines_of_a_kind_pass_and_the_rest_is_counted():
    throttle = Throttle(at_once=3, per_s=0.001)
    written = Written(throttle)
    for number in range(10):
        written.say("message %d is bad", number)
    assert written.lines == ["message 0 is bad", "message 1 is bad", "message 2 is bad"]
    assert throttle.overdue() == []


def test_the_last_line_that_was_held_back_is_said_later_with_how_many_there_were():
    throttle = Throttle(at_once=1, per_s=50.0)
    written = Written(throttle)
    for number in range(10):
        written.say("message %d is bad", number)
    [last] = wait_until(throttle.overdue, 2.0, "the next line to be allowed")
    written.handle(last)
    assert written.lines == ["message 0 is bad", "message 9 is bad (and 8 more like this)"]
    assert throttle.overdue() == []


def test_one_kind_does_not_hold_back_another():
    written = Written(Throttle(at_once=1, per_s=0.001))
    for slot in "ab" * 5:
        written.say("slot %s: %s", slot, "bad")
    written.say("slot %s: %s", "a", "bad", level=logging.ERROR)
    assert written.lines == ["slot a: bad", "slot b: bad", "slot a: bad"]


def test_a_line_whose_arguments_do_not_fit_is_not_the_throttles_matter():
    written = Written(Throttle(at_once=1, per_s=0.001))
    written.say("100 % of it")
    written.say("100 % of it")
    assert written.lines == ["100 % of it"]


def test_endlessly_many_subjects_and_messages_do_not_get_past_it():
    written = Written(Throttle(at_once=1, per_s=0.001))
    for number in range(1000):
        written.say("topic %s is odd", f"t{number}")
    assert len(written.lines) <= 20
    for number in range(1000):
        written.say(f"another text {number}")
    assert len(written.lines) <= 200
