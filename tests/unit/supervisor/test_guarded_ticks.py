"""Whatever raises in a tick, the wheels are told zero at that tick, and the robot latches."""

from __future__ import annotations

import time

import pytest

from stack.supervisor.guarded import Guarded
from stack.supervisor.state import Reason
from tests.fakes.supervision import Bench


class Topics:
    """Remembers what was published; raises where it is told to."""

    def __init__(self, failing):
        self.failing, self.commands = failing, []

    def _fail(self, name):
        if name in self.failing:
            raise RuntimeError(f"{name} is broken")

    def take(self, now_s, ros_s):
        self._fail("take")

    def publish(self, output, now_s, deadline_s):
        self.publish_command(output, deadline_s)
        self._fail("publish")

    def publish_command(self, output, deadline_s):
        self._fail("publish_command")
        self.commands.append(output.command)


def tick(guarded):
    guarded.act(guarded.decide(), time.monotonic())


@pytest.mark.parametrize("failing", ["take", "publish"])
def test_d45_an_exception_is_zero_at_once_and_latches(failing):
    bench = Bench()
    bench.drive()
    topics = Topics({failing})
    guarded = Guarded(bench.supervisor, topics)

    tick(guarded)

    assert topics.commands[-1] == (0.0, 0.0)
    assert Reason.EXCEPTION in bench.supervisor.trips
    topics.failing.clear()
    tick(guarded)
    assert bench.state == "LATCHED"
    assert topics.commands[-1] == (0.0, 0.0)


def test_d45_an_exception_at_every_tick_is_zero_at_every_tick_and_logged_once(caplog):
    bench = Bench()
    bench.drive()
    topics = Topics({"take"})
    guarded = Guarded(bench.supervisor, topics)

    for _ in range(50):
        tick(guarded)

    assert topics.commands == [(0.0, 0.0)] * 50
    assert len([record for record in caplog.records if "failed" in record.message]) == 1


def test_a_zero_that_cannot_be_published_ends_the_thread_so_that_the_process_starts_anew():
    bench = Bench()
    guarded = Guarded(bench.supervisor, Topics({"publish_command"}))

    with pytest.raises(RuntimeError, match="publish_command"):
        tick(guarded)
