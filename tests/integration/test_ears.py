"""Messages with their publisher: the GID that comes with one is the GID in the ROS graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from stack.supervisor.cdr import parse_switch, parse_text
from stack.supervisor.ears import GID_BYTES, Ear, HeardSample, gid_of
from tests.fakes.ros import Ros, allocate_domain_id, wait_until

DEEP = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[Ros]:
    with Ros(tmp_path, allocate_domain_id()) as made:
        made.pause()
        yield made


def taken(ear: Ear) -> HeardSample:
    sample: HeardSample = wait_until(ear.take, 5.0, "a message")
    return sample


def test_a_message_comes_with_the_gid_that_the_graph_shows(ros: Ros) -> None:
    ear = Ear(ros.node.create_subscription(Bool, "/button", print, DEEP, raw=True).handle)
    front, rear = ros.publisher("/button", Bool), ros.publisher("/button", Bool)
    wait_until(lambda: ros.node.count_publishers("/button") == 2, 5.0, "both publishers")
    for publisher, pressed in ((front, True), (rear, False), (front, False)):
        wait_until(lambda p=publisher: p.get_subscription_count() == 1, 5.0, "the publisher to be connected")
        publisher.publish(Bool(data=pressed))

    samples = [taken(ear) for _ in range(3)]

    assert [parse_switch(sample.data) for sample in samples] == [True, False, False]
    assert [sample.publisher for sample in samples] == [gid_of(each.handle) for each in (front, rear, front)]
    assert [sample.number for sample in samples] == [1, 1, 2]
    shown = {bytes(end.endpoint_gid[:GID_BYTES]) for end in ros.node.get_publishers_info_by_topic("/button")}
    assert shown == {samples[0].publisher, samples[1].publisher}
    assert ear.take() is None


def test_a_long_text_is_cut_and_the_next_one_is_whole(ros: Ros) -> None:
    ear = Ear(ros.node.create_subscription(String, "/voice", print, DEEP, raw=True).handle)
    voice = ros.publisher("/voice", String)
    wait_until(lambda: voice.get_subscription_count() == 1, 5.0, "the publisher to be connected")
    for text in ("x" * 3_000_000, "stop", ""):
        voice.publish(String(data=text))

    long, short, empty = (taken(ear) for _ in range(3))

    assert len(long.data) < 1_100_000
    assert set(parse_text(long.data)) == {"x"}
    assert [parse_text(sample.data) for sample in (short, empty)] == ["stop", ""]
