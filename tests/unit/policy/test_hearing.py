"""What a slot says of its inputs: the word, and the sentence that an operator can act on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import Image

from stack.policy.faults import LONGEST, Publishers, duration, sentence
from stack.policy.hearing import SlotInput
from stack.policy.slot import Slot
from stack.policy.sources import Latest
from tests.fakes.observations import SECOND, Constant, beams, command, feed, frame, make_slot, ros
from tests.fakes.tiny import make_tiny_model

CAMERA, TYPE = "/camera/image_raw", "sensor_msgs/msg/Image"


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return make_slot(make_tiny_model(tmp_path / "model"), Constant(), frozen_frames=3)


def told(slot: Slot, name: str, now: float = 10.0) -> tuple[Any, str]:
    """Fault and sentence of an input, at a time at which ROS time is 1000 s ahead."""
    found: Any = slot.inputs(now, ros(now))[name]
    return found["fault"], str(found["error"])


def test_inputs_that_are_well_have_no_fault_also_without_a_command(slot: Slot) -> None:
    feed(slot, 10.0)
    assert {name: told(slot, name) for name in ("camera_front", "scan", "command")} == dict.fromkeys(
        ("camera_front", "scan", "command"), (None, "None")
    )


@pytest.mark.parametrize(
    ("stamp_s", "word", "words"),
    [
        (0.0, "stale_stamp", "its stamps are zero: its driver sets none;"),
        (42.0, "stale_stamp", "its stamps are of a clock of its own (42.0 s after its start);"),
        (1.5e9, "future_stamp", "days ahead of this robot's clock, 50 ms are accepted;"),
        (1e9 + 10.08, "future_stamp", "its stamps are 80 ms ahead of this robot's clock, 50 ms are accepted;"),
        (1e9 + 9.0, "stale_stamp", "its stamps are 1.0 s old when they arrive, 300 ms are accepted until the next;"),
        (1e9 - 7200.0, "stale_stamp", "its stamps are 2.0 h old when they arrive"),
    ],
)
def test_a_camera_that_is_heard_and_whose_stamps_cannot_be_used_is_told_apart_from_a_dead_one(
    slot: Slot, stamp_s: float, word: str, words: str
) -> None:
    ros_ns = 10**18 + 10 * SECOND
    slot.on_camera("front", frame(stamp_s), 10.0, ros_ns)

    found: Any = slot.inputs(10.03, ros_ns + 3 * SECOND // 100)["camera_front"]

    assert found["fault"] == word and found["error"].startswith("it is heard, and ") and words in found["error"]
    assert "`stamps = false` in [cameras.front] of robot.toml" in found["error"].rpartition("; ")[2]


def test_a_camera_that_is_dead_is_told_with_who_should_publish_it(slot: Slot) -> None:
    assert told(slot, "camera_front") == ("missing", "never heard; start what publishes it")
    slot.hearing.publishers["camera_front"] = Publishers.of(CAMERA, TYPE, [])
    word, text = told(slot, "camera_front")
    assert word == "missing" and f"never heard: nobody publishes {CAMERA}; start its driver" in text
    slot.hearing.publishers["camera_front"] = Publishers.of(CAMERA, TYPE, [("/camera_node", TYPE)])
    assert told(slot, "camera_front")[1].startswith(
        f"never heard: /camera_node should publish {CAMERA}; look at its log"
    )
    feed(slot, 10.0)
    assert told(slot, "camera_front", 13.2)[0] == "stale"
    assert told(slot, "camera_front", 13.2)[1].startswith("last heard 3.2 s ago, 300 ms are accepted: /camera_node")


def test_a_publisher_of_another_type_is_named_instead_of_never_heard(slot: Slot) -> None:
    other = "sensor_msgs/msg/CompressedImage"
    slot.hearing.publishers["camera_front"] = Publishers.of(CAMERA, TYPE, [("/camera_node", other)])
    word, text = told(slot, "camera_front")
    assert word == "missing" and f"/camera_node publishes {other} on {CAMERA}, and a slot reads {TYPE}; " in text
    assert "give [cameras.front] of robot.toml the topic that it has" in text


def test_an_encoding_that_nobody_reads_is_named(slot: Slot) -> None:
    slot.on_camera("front", frame(1010.0, "yuv422"), 10.0, ros(10.0))
    word, text = told(slot, "camera_front")
    assert word == "unreadable" and text.startswith("encoding 'yuv422' needs cv_bridge")
    feed(slot, 10.1)
    assert told(slot, "camera_front", 10.1)[0] is None, "and no longer when it sends what can be read"


def test_a_frozen_camera_and_a_blind_scan_are_told(slot: Slot) -> None:
    for number in range(5):
        slot.on_camera("front", frame(1010.0 + number / 15, noise=7), 10.0 + number / 15, ros(10.0 + number / 15))
    assert told(slot, "camera_front", 10.3)[0] == "frozen"
    slot.on_scan(beams(1010.0, math.nan), 10.0, ros(10.0))
    word, text = told(slot, "scan")
    assert word == "blind" and "range_min" in text


def test_words_that_the_model_does_not_know_are_told_and_a_stop_is_no_fault(slot: Slot) -> None:
    slot.on_command(command("xyzzy"), 10.0)
    assert told(slot, "command")[0] == "unknown_words"
    for text in ("stop", "", "go to the red pillar"):
        slot.on_command(command(text), 10.0)
        assert told(slot, "command")[0] is None
    slot.on_command("{", 10.0)
    assert told(slot, "command")[0] == "unreadable"


def test_that_nobody_has_said_anything_yet_is_no_fault_and_that_nobody_could_is(slot: Slot) -> None:
    assert told(slot, "command")[0] is None
    slot.hearing.publishers["command"] = Publishers.of("/command", "std_msgs/msg/String", [])
    assert told(slot, "command") == ("missing", told(slot, "command")[1])
    assert "nobody publishes /command; start the supervisor" in told(slot, "command")[1]


def test_detections_that_can_never_be_heard_are_a_fault_and_missing_ones_are_none(tmp_path: Path) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "model"), Constant(), "optimized")
    kind = "vision_msgs/msg/Detection2DArray"
    for found, fault in (([], None), ([("/eye", kind)], None), ([("/eye", "std_msgs/msg/String")], "missing")):
        slot.hearing.publishers["detections"] = Publishers.of("/detections", kind, found)
        assert told(slot, "detections")[0] == fault


def test_only_what_is_silent_is_worth_a_look(slot: Slot) -> None:
    assert slot.hearing.silent(10.0) == ["camera_front", "scan", "command"]
    feed(slot, 10.0)
    slot.on_command(command("turn left"), 10.0)
    assert slot.hearing.silent(10.1) == []
    assert slot.hearing.silent(10.4) == ["camera_front"]


def test_every_sentence_is_one_line_and_ends_with_what_to_do() -> None:
    source: Latest[int] = Latest(0.3)
    for word in ("missing", "stale", "stale_stamp", "future_stamp", "frozen", "blind", "unknown_words", "unreadable"):
        for stamp_ns in (0, 5, 2 * 10**18):
            source.put(1, 10.0, stamp_ns)
            text = sentence("camera_front", word, source, 11.0, 10**18)
            assert text.count("; ") == 1 and "\n" not in text and len(text) <= LONGEST, text


def test_spans_of_time_are_told_as_people_say_them() -> None:
    spans = (0.08, 1.0, 90.0, 600.0, 7200.0, 10 * 86_400.0)
    assert [duration(span) for span in spans] == ["80 ms", "1.0 s", "90.0 s", "10 min", "2.0 h", "10 days"]


def test_an_ear_names_its_type_as_the_graph_does() -> None:
    assert SlotInput("camera_front", Image, CAMERA, print).type_name == TYPE
