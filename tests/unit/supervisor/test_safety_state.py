"""The state machine: every state with every reason, and what must hold in all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.state import (
    AT_ONCE,
    FAULTS,
    LATCHING,
    MAY_MOVE,
    NONE,
    OF_SLOT,
    Inputs,
    Machine,
    Motion,
    Reason,
    State,
    blocking,
    step,
)

ALL = Reason(sum(reason.value for reason in Reason))


def machine_in(state):
    armed = state in MAY_MOVE
    latched = Reason.ESTOP if state is State.LATCHED else NONE
    limited = 1e9 if state is State.LIMITED else float("-inf")
    return Machine(state=state, armed=armed, latched=latched, limited_until_s=limited)


def expected(state, reason):
    """State after one tick with one reason, moving, with a live action."""
    if state is State.LATCHED or reason & LATCHING:
        return State.LATCHED
    if reason or state in (State.BOOT, State.SAFE_STOP, State.STOPPING):
        return State.STOPPING
    return State.LIMITED if state is State.LIMITED else State.RUN


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("reason", [NONE, *Reason], ids=lambda reason: reason.name or "NONE")
def test_every_state_with_every_reason_goes_where_the_table_says(state, reason):
    after = step(machine_in(state), Inputs(1.0, reason, live=True, commanded_zero=False, standing=False))
    assert after.state is expected(state, reason)
    assert after.armed is (state in MAY_MOVE and not reason & (LATCHING | FAULTS))


@pytest.mark.parametrize("reason", [NONE, *Reason], ids=lambda reason: reason.name or "NONE")
def test_every_reason_but_hold_blocks_arming(reason):
    inputs = Inputs(1.0, reason, arm=True)
    after = step(machine_in(State.SAFE_STOP), inputs)
    assert after.armed is (reason in (NONE, Reason.HOLD))
    assert bool(blocking(after, inputs)) is not after.armed


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_a_reason_stops_at_once_or_by_a_ramp(reason):
    after = step(machine_in(State.RUN), Inputs(1.0, reason, live=True, commanded_zero=False))
    assert after.motion is (Motion.ZERO if reason & AT_ONCE else Motion.RAMP)


def test_boot_lasts_until_every_source_was_heard():
    booting = step(Machine(), Inputs(1.0, Reason.SCAN_STALE, heard_all=False, arm=True))
    assert (booting.state, booting.armed, booting.motion) == (State.BOOT, False, Motion.ZERO)
    assert step(booting, Inputs(1.0)).state is State.SAFE_STOP


def test_a_latched_reason_stays_until_reset_and_reset_does_not_arm():
    latched = step(machine_in(State.RUN), Inputs(1.0, Reason.NON_FINITE, live=True))
    assert step(latched, Inputs(2.0, live=True, arm=True)).state is State.LATCHED
    reset = step(latched, Inputs(2.0, live=True, reset=True))
    assert (reset.state, reset.armed) == (State.SAFE_STOP, False)


@pytest.mark.parametrize(
    "inputs", [Inputs(2.0, Reason.SCAN_STALE), Inputs(2.0, Reason.ESTOP), Inputs(2.0, standing=False)]
)
def test_reset_needs_everything_healthy_and_zero_speed(inputs):
    latched = machine_in(State.LATCHED)
    assert step(latched, replace(inputs, reset=True)).state is State.LATCHED


@pytest.mark.parametrize("reason", [r for r in Reason if r & OF_SLOT], ids=lambda reason: reason.name)
def test_under_hold_a_slot_may_be_exchanged_without_disarming(reason):
    held = step(machine_in(State.RUN), Inputs(1.0, Reason.HOLD | reason))
    assert (held.state, held.armed) == (State.ARMED, True)
    assert not step(held, Inputs(1.1, reason)).armed


def test_nothing_to_do_ramps_down_and_stays_armed():
    idle = step(machine_in(State.RUN), Inputs(1.0, live=False, commanded_zero=False))
    assert (idle.state, idle.motion) == (State.ARMED, Motion.RAMP)
    assert step(idle, Inputs(1.1, live=True)).state is State.RUN


def test_a_ramp_that_takes_too_long_ends_in_zero():
    ramping = step(machine_in(State.RUN), Inputs(1.0, Reason.HOLD, commanded_zero=False))
    assert step(ramping, Inputs(3.0, Reason.HOLD, commanded_zero=False)).motion is Motion.ZERO


def test_limited_does_not_flicker():
    limited = step(machine_in(State.RUN), Inputs(1.0, live=True, clamped=True))
    assert [step(limited, Inputs(at, live=True)).state for at in (1.2, 1.6)] == [State.LIMITED, State.RUN]


inputs_strategy = st.builds(
    Inputs,
    now_s=st.just(0.0),
    reasons=st.integers(0, ALL.value).map(Reason) | st.just(NONE),
    heard_all=st.booleans(),
    live=st.booleans(),
    clamped=st.booleans(),
    way_free=st.booleans(),
    commanded_zero=st.booleans(),
    standing=st.booleans(),
    arm=st.booleans(),
    reset=st.booleans(),
)


@given(st.lists(inputs_strategy, max_size=30), st.sampled_from([None, 0.06]))
def test_no_sequence_of_inputs_breaks_the_invariants(sequence, auto_resume_s):
    machine = Machine(auto_resume_s=auto_resume_s)
    for index, inputs in enumerate(sequence):
        before, machine = machine, step(machine, replace(inputs, now_s=index * 0.02))
        if machine.motion is Motion.DRIVE:
            assert machine.armed
            assert not inputs.reasons
            assert not machine.latched
            assert inputs.live
            assert inputs.heard_all
        if machine.armed and not before.armed:
            assert inputs.arm or (auto_resume_s and before.stopped_s is not None), "only arm arms, unless configured"
            assert inputs.arm or not inputs.reasons | before.latched
        if before.latched and not machine.latched:
            assert inputs.reset
            assert inputs.standing
            assert not machine.armed, "reset is not arm"
            assert machine.stopped_s is None, "and what was latched never goes on by itself"
        if inputs.reasons & LATCHING:
            assert machine.state is State.LATCHED
        assert not (machine.latched and machine.motion is not Motion.ZERO)
