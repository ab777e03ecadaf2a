"""Where chunks go on and where they end, with injected time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.policy.chunks import Chunk, Chunks, covers

STEP_S = 0.05


def make(steps: int = 8) -> Chunks:
    return Chunks(STEP_S, steps, np.full(2, -1.0, np.float32), np.full(2, 1.0, np.float32))


def chunk(steps: int = 8, at: float = 100.0, generation: int = 1, scale: float = 0.01, start: int = 0) -> Chunk:
    actions = np.repeat(np.arange(steps, dtype=np.float32)[:, None] * np.float32(scale), 2, axis=1)
    return Chunk(actions, at, 5, generation, start)


def first(rest: Chunk | None) -> float:
    assert rest is not None
    return float(rest.actions[0, 0])


@pytest.mark.parametrize("jitter_s", [-0.02, 0.0, 0.02])
def test_every_tick_gives_the_next_step_whatever_its_jitter(jitter_s: float) -> None:
    chunks = make()
    chunks.put(chunk())
    times = [100.0 + (number + 0.4) * STEP_S + jitter_s * (number % 2) for number in range(8)]
    assert [first(chunks.take(at, 1)) for at in times] == pytest.approx([0.01 * number for number in range(8)])


def test_the_rest_is_given_whole_and_looking_consumes_nothing() -> None:
    chunks = make()
    chunks.put(chunk())
    chunks.take(100.0, 1)
    assert [len(chunks.rest(100.05, 1).actions) for _ in range(3)] == [7, 7, 7]  # type: ignore[union-attr]


def test_a_skipped_tick_consumed_the_step_that_was_sent_before_it() -> None:
    chunks = make()
    chunks.put(chunk())
    chunks.take(100.0, 1)
    assert first(chunks.take(100.15, 1, periods=3)) == pytest.approx(0.03)


def test_a_chunk_goes_on_behind_the_steps_consumed_since_its_frame() -> None:
    chunks = make()
    chunks.put(chunk())
    for number in range(4):
        chunks.take(100.0 + number * STEP_S, 1)
    chunks.put(chunk(at=100.1, scale=0.02, start=2))  # its frame came when two steps had been consumed
    assert first(chunks.take(100.2, 1)) == pytest.approx(0.04)
    assert chunks.delay_steps == 2


def test_while_the_robot_stands_no_step_is_consumed() -> None:
    chunks = make()
    chunks.put(chunk())
    chunks.take(100.0, 1)
    assert chunks.take(100.05, None) is None
    assert chunks.take(100.10, None, periods=1) is None
    assert first(chunks.take(100.15, 1)) == pytest.approx(0.01)


def test_the_steps_ahead_of_a_frame_are_the_prefix_of_the_next_chunk() -> None:
    chunks = make()
    assert chunks.ahead(0, 1).shape == (0, 2)
    chunks.put(chunk())
    assert chunks.ahead(3, 1)[:, 0] == pytest.approx([0.03, 0.04, 0.05, 0.06, 0.07])
    assert chunks.ahead(3, 2).shape == (0, 2)


def test_after_the_last_step_there_is_nothing_and_nothing_is_repeated() -> None:
    chunks = make()
    chunks.put(chunk())
    for number in range(8):
        assert chunks.take(100.0 + number * STEP_S, 1) is not None
    assert chunks.take(100.3, 1) is None


def test_a_chunk_ends_with_its_time_however_few_steps_were_consumed() -> None:
    chunks = make()
    chunks.put(chunk())
    assert chunks.take(100.0 + 8 * STEP_S, 1) is None
    assert chunks.dry(1) and not chunks.dry(2)


def test_steps_behind_execute_steps_are_never_given() -> None:
    chunks = make(steps=6)
    chunks.put(chunk(steps=8))
    rest = chunks.rest(100.0, 1)
    assert rest is not None and len(rest.actions) == 6


def test_a_chunk_for_an_earlier_command_is_void_after_a_stop() -> None:
    chunks = make()
    chunks.put(chunk(generation=1))
    assert chunks.rest(100.0, 2) is None


@pytest.mark.parametrize(
    ("cycle_s", "period_s", "frame_s", "lasts"),
    [(0.3, 0.0, 0.066, True), (0.37, 0.0, 0.066, False), (0.1, 0.6, 0.066, True), (0.1, 0.7, 0.066, False)],
)
def test_a_chunk_of_16_steps_lasts_for_two_inferences_and_a_frame(
    cycle_s: float, period_s: float, frame_s: float, lasts: bool
) -> None:
    assert covers(16, STEP_S, cycle_s, period_s, frame_s) is lasts


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_chunk_that_is_not_finite_is_counted_and_leaves_nothing(bad: float) -> None:
    chunks = make()
    chunks.put(chunk())
    broken = chunk()
    broken.actions[7, 1] = bad
    chunks.put(broken)
    assert chunks.non_finite == 1
    assert chunks.rest(100.0, 1) is None and chunks.dry(1)


def test_actions_out_of_range_are_clamped_and_counted() -> None:
    chunks = make()
    chunks.put(chunk(scale=1.0))
    rest = chunks.rest(100.0, 1)
    assert rest is not None and rest.actions.max() == 1.0
    assert chunks.clamped == 1
    chunks.put(chunk())
    assert chunks.clamped == 1


@given(st.lists(st.floats(width=32), min_size=16, max_size=16), st.floats(0.0, 1.0))
def test_whatever_the_network_says_only_finite_actions_in_range_come_out(values: list[float], passed_s: float) -> None:
    chunks = make()
    chunks.put(Chunk(np.asarray(values, np.float32).reshape(8, 2), 100.0, 0, 1))
    rest = chunks.rest(100.0 + passed_s, 1)
    assert rest is None or (np.isfinite(rest.actions).all() and np.abs(rest.actions).max() <= 1.0)


@pytest.mark.parametrize(("inference_ms", "gap_free"), [(300, True), (360, True), (420, False)])
def test_a_policy_of_300_ms_with_16_steps_at_20_hz_always_has_a_step_left(inference_ms: int, gap_free: bool) -> None:
    """A millisecond at a time: frames at 15 Hz, inference back to back, ticks at 20 Hz."""
    chunks, empty = make(steps=16), 0
    arrived, mark, started = 0, 0, 0
    frame_at, frame_mark = 0, 0
    for now in range(1, 40_000):
        if now % 66 == 0:
            arrived, mark = now, chunks.consumed
        if now - started >= inference_ms:
            chunks.put(chunk(steps=16, at=frame_at / 1e3, start=frame_mark))
            frame_at, frame_mark, started = arrived, mark, now
        if now % 50 == 25:
            empty += int(chunks.take(now / 1e3, 1) is None and now > 500)
    assert (empty == 0) is gap_free
    assert covers(16, STEP_S, inference_ms / 1e3, 0.0, 0.066) is gap_free
