"""What the monitor says about samples, slots and the supervisor."""

from __future__ import annotations

import json

import pytest

from stack.monitor.health import ERROR, NO_DATA, OK, STALE, WARN, machine, read, sample, slot, supervisor
from stack.monitor.resources import Resources
from tests.fakes.schemas import check

NOW_NS = 10_000_000_000
SLOT = {
    "schema": 1, "slot": "a", "pid": 1, "start_ticks": 1, "epoch": 1, "release": "sha256:" + "0" * 64,
    "model": "sha256:" + "0" * 64, "image": None, "engine": None, "state": "ready", "error": None,
    "profile": "optimized",
    "backend": "onnxruntime", "precision": "fp32", "degraded": False, "control_hz": 20.0, "actions": 1, "inferences": 1,
    "inference_p50_ms": 1.0, "inference_p99_ms": None, "missed": 2, "late": 0, "non_finite": 0, "clamped": 0,
    "overhead_p50_ms": 0.2, "overhead_p99_ms": 0.4, "overhead_counts": [], "prepared_p50_ms": None, "delay_steps": 1,
    "gap_free": True, "rung": "full", "advisory": None,
    "late_p99_ms": 0.1, "late_counts": [], "empty": 0, "struggling": False, "slow": 0,
    "void_reason": None,
    "sources": {
        "camera_front": {"age_ms": 40.0, "received": 1, "rejected": 0, "fault": None, "error": None, "valid": None}
    },
    "memory_bytes": 5, "machine": {}, "monotonic_ns": NOW_NS - 400_000_000,
}  # fmt: skip
STATE = {
    "schema": 1, "protocol": 1, "seq": 1, "monotonic_ns": 1, "state": "SAFE_STOP", "armed": False, "held": True,
    "reasons": ["held"], "latched": [], "blocking": ["scan", "odom"], "limited_by": [], "selected": None,
    "probation": None, "reverted": None,
    "unheard": [],
}  # fmt: skip


def said(**changes):
    document = {**SLOT, **changes}
    check(document, "slot-status")
    return slot("a", json.dumps(document).encode(), NOW_NS)


def test_a_slot_that_runs_is_told_with_its_figures():
    found = said()
    assert (found.name, found.level, found.message) == ("slot a", OK, "ready")
    wanted = {
        "backend": "onnxruntime",
        "missed": "2",
        "inference_p99_ms": NO_DATA,
        "age_ms": "400",
        "camera_front_age_ms": "40.0",
    }
    assert wanted.items() <= found.values.items()


@pytest.mark.parametrize(
    ("changes", "level", "message"),
    [
        ({"degraded": True}, WARN, "degraded"),
        ({"gap_free": False}, WARN, "an action chunk does not last until the next one"),
        ({"struggling": True}, WARN, "misses ticks, or has nothing to say in them"),
        ({"state": "failed", "error": "no memory"}, ERROR, "no memory"),
        ({"monotonic_ns": 1}, STALE, "no longer writes its status.json"),
    ],
)
def test_a_slot_in_trouble_is_told_as_such(changes, level, message):
    found = said(**changes)
    assert (found.level, found.message) == (level, message)


def test_what_a_source_was_refused_for_is_told():
    source = {
        "age_ms": None,
        "received": 0,
        "rejected": 3,
        "fault": None,
        "error": "camera: encoding 'yuv422' needs cv_bridge",
        "valid": None,
    }
    assert said(sources={"camera_front": source}).values["camera_front_error"] == source["error"]


def test_a_source_that_a_slot_does_not_use_is_a_warning_that_names_it_and_what_to_do():
    text = "it is heard, and its stamps are 80 ms ahead; set its clock"
    camera = {
        "age_ms": 3.0,
        "received": 9,
        "rejected": 0,
        "fault": "future_stamp",
        "error": text,
        "valid": None,
    }
    found = said(sources={"camera_front": camera}, void_reason="camera_front_future_stamp")
    assert (found.level, found.message) == (WARN, f"camera_front: {text}")
    told = {
        "void_reason": "camera_front_future_stamp",
        "camera_front_fault": "future_stamp",
        "camera_front_error": text,
    }
    assert told.items() <= found.values.items()


def test_an_empty_slot_is_no_trouble_and_a_broken_file_is(tmp_path):
    assert read(tmp_path / "none") is None
    assert (slot("b", None, NOW_NS).level, slot("b", None, NOW_NS).message) == (OK, NO_DATA)
    for data in (b"", b"{", b"[]", b"\xff"):
        assert slot("b", data, NOW_NS).level == ERROR
    assert slot("b", b'{"sources":{"camera_front":3}}', NOW_NS).level == STALE


def test_the_supervisor_is_told_with_what_blocks_it():
    check(STATE, "supervisor-state")
    found = supervisor(json.dumps(STATE).encode(), 0.1)
    assert (found.level, found.message) == (OK, "SAFE_STOP")
    assert (found.values["blocking"], found.values["age_ms"]) == ("scan odom", "100")


@pytest.mark.parametrize(
    ("state", "age_s", "level"), [("LATCHED", 0.1, ERROR), ("RUN", 2.0, STALE), (None, 0.0, STALE)]
)
def test_a_supervisor_in_trouble_is_told_as_such(state, age_s, level):
    data = None if state is None else json.dumps({**STATE, "state": state}).encode()
    assert supervisor(data, age_s).level == level


def test_what_the_supervisor_cannot_hear_is_a_warning_that_says_so():
    text = "/safety/estop is published by /button as std_msgs/msg/Empty"
    state = {**STATE, "unheard": [text]}
    check(state, "supervisor-state")
    found = supervisor(json.dumps(state).encode(), 0.1)
    assert (found.level, found.message, found.values["unheard"]) == (WARN, f"SAFE_STOP; {text}", text)
    assert supervisor(json.dumps({**state, "state": "LATCHED"}).encode(), 0.1).level == ERROR
    assert "unheard" not in supervisor(json.dumps(STATE).encode(), 0.1).values


def test_a_machine_is_told_with_the_limits_it_crossed(tmp_path):
    found = machine({"cpu_percent": 5.0, "memory_percent": 97.0, "disk_percent": 91.0, "temperature_c": None})
    assert (found.level, found.message) == (WARN, "memory is nearly full; disk is nearly full")
    assert found.values["temperature_c"] == NO_DATA
    assert sample(Resources(), tmp_path)["disk_free_bytes"] > 0
    assert sample(Resources(), tmp_path / "none")["disk_percent"] is None
