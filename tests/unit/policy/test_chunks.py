"""Timing of action chunks, with injected time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.policy.chunks import Chunk, Chunks

STEP_S = 0.05


def make(steps: int = 8) -> Chunks:
    return Chunks(STEP_S, steps, np.full(2, -1.0, np.float32), np.full(2, 1.0, np.float32))


def chunk(steps: int = 8, at: float = 100.0, generation: int = 1, scale: float = 0.01) -> Chunk:
    actions = np.repeat(np.arange(steps, dtype=np.float32)[:, None] * np.float32(scale), 2, axis=1)
    return Chunk(actions, at, 5, generation)


@pytest.mark.parametrize(("passed_s", "first"), [(0.0, 0), (0.049, 0), (0.051, 1), (0.2001, 4), (0.399, 7)])
def test_the_rest_begins_at_the_step_that_is_due(passed_s: float, first: int) -> None:
    chunks = make()
    chunks.put(chunk())
    rest = chunks.rest(100.0 + passed_s, 1)
    assert rest is not None
    assert len(rest.actions) == 8 - first
    assert rest.actions[0, 0] == np.float32(0.01 * first)


def test_after_the_last_step_there_is_nothing_and_nothing_is_repeated() -> None:
    chunks = make()
    chunks.put(chunk())
    assert chunks.rest(100.0 + 8 * STEP_S + 0.001, 1) is None
    assert chunks.rest(1000.0, 1) is None


def test_steps_behind_execute_steps_are_never_given() -> None:
    chunks = make(steps=6)
    chunks.put(chunk(steps=8))
    rest = chunks.rest(100.0, 1)
    assert rest is not None and len(rest.actions) == 6


def test_a_newer_chunk_replaces_the_older_one() -> None:
    chunks = make()
    chunks.put(chunk())
    chunks.put(chunk(at=100.2, scale=0.02))
    rest = chunks.rest(100.26, 1)
    assert rest is not None and rest.actions[0, 0] == np.float32(0.02)


def test_a_chunk_for_an_earlier_command_is_void_after_a_stop() -> None:
    chunks = make()
    chunks.put(chunk(generation=1))
    assert chunks.rest(100.0, 2) is None


def test_a_time_before_the_observation_gives_the_first_step() -> None:
    chunks = make()
    chunks.put(chunk())
    rest = chunks.rest(99.9, 1)
    assert rest is not None and len(rest.actions) == 8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_chunk_that_is_not_finite_is_counted_and_leaves_nothing(bad: float) -> None:
    chunks = make()
    chunks.put(chunk())
    broken = chunk()
    broken.actions[7, 1] = bad
    chunks.put(broken)
    assert chunks.non_finite == 1
    assert chunks.rest(100.0, 1) is None


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


def test_a_policy_of_300_ms_with_16_steps_at_20_hz_always_has_a_step_left() -> None:
    chunks = make(steps=16)
    busy_until, observed = 0.3, 0.0
    for tick in range(1, 400):
        now = tick * STEP_S + 1e-4
        if now >= busy_until:
            chunks.put(chunk(steps=16, at=observed))
            observed, busy_until = now, now + 0.3
        if now > 0.4:
            assert chunks.rest(now, 1) is not None, now
