"""The seed's topics, rates, limits and payloads, each row of the inventory by its number.

Who publishes what is docs/interfaces.md's.

The rows that belong to the supervisor (T5, T6, T12, T13, and of R2, R6, R12 to R17 what stops a robot) are here as what
no profile does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_registry.core.errors import IncompatibleError, UsageError
from model_registry.core.release import PROFILES as NAMES
from stack.engine.backends import BackendIdentity
from stack.monitor.resources import ResourceSample
from stack.policy.profile import PROFILES, SETTINGS, Topic, TopicFacts, profile
from stack.policy.slot import Slot
from tests.fakes.observations import Constant, command, drive, feed, make_slot, ros
from tests.fakes.tiny import make_tiny_model

ACTION = {"linear_x": 0.1, "angular_z": 0.2}
TENSORRT, CPU = BackendIdentity("tensorrt", {}, "fp16"), BackendIdentity("onnxruntime", {"onnxruntime": "1.0"}, "fp32")


def facts(identity: BackendIdentity = CPU, degraded: bool = False) -> TopicFacts:
    return TopicFacts(
        5.0, ACTION, 0.012, identity, degraded, 3, 1, ResourceSample(cpu_percent=12.0, memory_percent=34.0)
    )


def topic(name: str) -> Topic:
    [found] = [topic for each in PROFILES.values() for topic in each.topics if topic.name == name]
    return found


def slot_of(tmp_path: Path, name: str, backend: Constant | None = None) -> Slot:
    return make_slot(make_tiny_model(tmp_path / "model"), backend or Constant(), name)


def test_every_profile_that_a_release_can_name_is_there() -> None:
    assert set(PROFILES) == set(NAMES)


def test_t03_only_optimized_takes_detections_and_nothing_waits_for_them(tmp_path: Path) -> None:
    assert [name for name, each in PROFILES.items() if each.detections] == ["optimized"]
    slot = slot_of(tmp_path, "optimized")
    drive(slot)
    assert slot.action(10.0, ros(10.0)).steps is not None
    slot.on_detections(b"anything", 10.0)
    assert "detections" in slot.inputs(10.0, ros(10.0))


@pytest.mark.parametrize("name", ["/battery_state", "/cmd_vel", "/safety_status", "/safety_log"])
def test_t05_t06_t12_t13_belong_to_the_supervisor_alone(name: str) -> None:
    assert name not in {topic.name for each in PROFILES.values() for topic in each.topics}
    node = Path(__file__).parents[3] / "stack/policy/node.py"
    assert name not in node.read_text()


@pytest.mark.parametrize(
    ("row", "name", "profile_name", "number", "period_s", "depth"),
    [
        ("t07", "/vla_deployment_status", "optimized", False, None, 5),
        ("t08", "/hardware_acceleration_status", "hardware_accelerated", False, None, 5),
        ("t09", "/inference_performance", "hardware_accelerated", True, None, 5),
        ("t10", "/resource_optimization_status", "resource_optimized", False, 1.0, 3),
        ("t11", "/memory_usage", "resource_optimized", True, 0.5, 3),
    ],
)
def test_t07_to_t11_keep_topic_type_rate_and_depth(
    row: str, name: str, profile_name: str, number: bool, period_s: float | None, depth: int
) -> None:
    assert (topic(name).number, topic(name).period_s) == (number, period_s)
    assert topic(name) in PROFILES[profile_name].topics and PROFILES[profile_name].depth == depth


def test_t09_is_seconds_of_the_whole_cycle() -> None:
    assert topic("/inference_performance").body(facts()) == 0.012


def test_t11_is_a_fraction_of_the_memory() -> None:
    assert topic("/memory_usage").body(facts()) == 0.34


@pytest.mark.parametrize(
    ("row", "name", "hz"),
    [("r01", "optimized", 10), ("r05", "hardware_accelerated", 20), ("r12", "safe_production", 10)],
)
def test_r01_r05_r12_infer_at_their_rate(tmp_path: Path, row: str, name: str, hz: int) -> None:
    slot = slot_of(tmp_path, name)
    slot.on_command(command("turn left"), 10.0)
    made = []
    for number in range(120):  # frames at 60 Hz
        now = 10.0 + number / 60
        feed(slot, now)
        made.append(slot.infer(now, ros(now)))
    assert sum(made) == pytest.approx(2 * hz, abs=2)


def test_r02_a_tick_needs_an_image_and_a_command(tmp_path: Path) -> None:
    slot = slot_of(tmp_path, "optimized")
    assert slot.action(10.0, ros(10.0)).void_reason == "no_command"
    slot.on_command(command("turn left"), 10.0)
    assert slot.action(10.0, ros(10.0)).void_reason == "camera_front_missing"


@pytest.mark.parametrize(
    ("row", "name", "linear", "angular"),
    [
        ("r02", "optimized", 1.0, 1.0),
        ("r06", "hardware_accelerated", 1.0, 1.0),
        ("r10", "resource_optimized", 1.0, 1.0),
        ("r13", "safe_production", 0.5, 1.0),
    ],
)
def test_r02_r06_r10_r13_clamp_to_their_limits(
    tmp_path: Path, row: str, name: str, linear: float, angular: float
) -> None:
    backend = Constant()
    slot = slot_of(tmp_path, name, backend)
    for now, sign in ((10.0, 1.0), (11.0, -1.0)):
        backend.value = 1e6 * sign
        drive(slot, now)
        action = slot.action(now, ros(now))
        assert action.steps is not None
        assert action.steps[0].tolist() == [sign * linear, sign * angular]


def test_r03_the_payload_of_the_deployment_status() -> None:
    assert topic("/vla_deployment_status").body(facts()) == {
        "timestamp": 5.0,
        "processing_time_ms": 12.0,
        "action": ACTION,
        "model_optimized": False,
        "gpu_used": False,
    }


def test_r07_the_payload_of_the_acceleration_status() -> None:
    assert topic("/hardware_acceleration_status").body(facts(TENSORRT)) == {
        "timestamp": 5.0,
        "processing_time_ms": 12.0,
        "hardware_accelerated": True,
        "action": ACTION,
    }


def test_r08_r11_the_payload_of_the_resource_status() -> None:
    assert topic("/resource_optimization_status").body(facts()) == {
        "timestamp": 5.0,
        "cpu_usage": 12.0,
        "memory_usage": 34.0,
        "gpu_memory_usage": 0.0,
        "cache_stats": {"hits": 3, "misses": 1, "hit_rate": 0.75},
        "action": ACTION,
    }


def test_r09_a_loaded_machine_gets_the_smaller_model_and_the_larger_one_back(tmp_path: Path) -> None:
    big, small = make_tiny_model(tmp_path / "big"), make_tiny_model(tmp_path / "small")
    backend = Constant()
    backend.seconds = 0.05
    slot = make_slot(big, backend, small=small)
    drive(slot)
    slot.sources.cameras[
        "front"
    ].interval_s = 0.2  # too slow a camera for half of its rate: only the small model is left to take
    seen = []
    for second in range(20):
        slot.pace.adjust({"cpu_percent": 90.0 if second < 5 else 10.0, "memory_percent": 50.0}, float(second))
        seen.append((slot.pace.rung.name, slot.inference.identity.name))
    assert [name for name, _ in seen] == ["full"] * 2 + ["small"] * 13 + ["full"] * 5
    assert PROFILES["resource_optimized"].ladder
    assert [name for name, each in PROFILES.items() if each.ladder] == ["resource_optimized"]


def test_r09_d32_a_camera_at_the_border_of_a_rung_changes_no_model_each_second(tmp_path: Path) -> None:
    """Half the rate is there while the camera is fast enough for it, and not there when it is not."""
    slot = make_slot(make_tiny_model(tmp_path / "big"), Constant(), small=make_tiny_model(tmp_path / "small"))
    drive(slot)
    seen = []
    for second in range(40):
        slot.inference.cycle_s = 0.05
        slot.sources.cameras["front"].interval_s = 0.2 if second % 2 else 0.03
        slot.pace.adjust({"cpu_percent": 90.0 if second < 20 else 10.0}, float(second))
        seen.append(slot.pace.rung.name)
    changes = [second for second in range(1, 40) if seen[second] != seen[second - 1]]
    assert "small" in seen and seen[-1] == "full"
    assert len(changes) <= 3 and changes[-1] - changes[-2] >= 10, seen


def test_r10_the_language_of_a_command_is_prepared_once(tmp_path: Path) -> None:
    slot = slot_of(tmp_path, "resource_optimized")
    drive(slot)
    for number in range(1, 9):
        feed(slot, 10.0 + number / 10)
        assert slot.infer(10.0 + number / 10, ros(10.0 + number / 10))
    assert (slot.inference.cache.misses, slot.inference.cache.hits) == (1, 9)


def test_r13_a_cycle_of_more_than_100_ms_is_not_acted_on() -> None:
    assert PROFILES["safe_production"].max_cycle_s == 0.1


def test_r18_an_ended_slot_says_nothing_more(tmp_path: Path) -> None:
    """A stop at the end is the supervisor's, who hears the silence; test_policy_node ends a process in every state."""
    slot = slot_of(tmp_path, "optimized")
    drive(slot)
    slot.on_command(command("stop"), 10.1)
    assert slot.action(10.1, ros(10.1)).steps is None


@pytest.mark.parametrize("name", SETTINGS, ids=str)
def test_a_release_overrides_settings_within_their_range(name: str) -> None:
    low, high = SETTINGS[name]
    assert getattr(profile("optimized", {name: high}), name) == high
    for bad in (high + 1, low - 1, "fast", True, np.nan):
        with pytest.raises(UsageError, match=f"overrides.{name}"):
            profile("optimized", {name: bad})


def test_a_setting_that_nobody_knows_is_refused_and_those_of_backends_are_left_to_them() -> None:
    with pytest.raises(UsageError, match="no such setting"):
        profile("optimized", {"max_linear": 9.0})
    assert profile("optimized", {"null_ms": 20.0, "onnxruntime_threads": 2}) == PROFILES["optimized"]


def test_a_profile_that_this_version_does_not_have_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="profile acrobatic"):
        profile("acrobatic", {})
