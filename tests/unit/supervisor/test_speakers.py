"""Who speaks on a sensor's topic."""

from __future__ import annotations

import pytest

from stack.supervisor.speakers import Speakers
from tests.fakes.supervision import Bench, status

A, B, C = b"\xaa" * 16, b"\xbb" * 16, b"\xcc" * 16


def heard(story, max_age_s=0.5):
    """What is wrong after publishers spoke at (monotonic s), one message each."""
    speakers = Speakers(max_age_s, lambda publisher: publisher.hex()[:2])
    for publisher, at_s in story:
        speakers.hear(publisher, at_s)
    return speakers, speakers.fault(story[-1][1])


def test_one_publisher_is_none_too_many():
    assert heard([(A, 0.1 * number) for number in range(50)])[1] is None


@pytest.mark.parametrize("pause_s", [0.01, 0.4, 5.0])
def test_a_driver_that_was_started_again_is_taken_over_without_a_word(pause_s):
    story = [(A, 0.0), (A, 0.1), (B, 0.1 + pause_s), (B, 0.2 + pause_s), (C, 9.0), (C, 9.1)]
    assert heard(story)[1] is None


def test_two_that_speak_in_turn_are_named():
    assert heard([(A, 0.0), (B, 0.1), (A, 0.2)])[1] == "two publishers: aa and bb; end one of them"


def test_one_that_speaks_rarely_is_found_as_well():
    assert heard([(A, 0.0), (B, 5.0), (A, 5.1)])[1] is not None
    assert heard([*((A, 0.1 * number) for number in range(90)), (B, 9.05), (A, 9.1)])[1] is not None


def test_it_is_over_when_only_one_has_spoken_for_a_second():
    speakers, _ = heard([(A, 0.0), (B, 0.1), (A, 0.2)])
    for number in range(3, 11):
        speakers.hear(A, 0.1 * number)
        assert speakers.fault(0.1 * number) is not None
    assert speakers.fault(1.2) is None
    speakers.hear(A, 1.3)
    assert speakers.fault(1.3) is None


def test_slow_sources_are_given_their_own_age():
    assert heard([(A, 0.0), (B, 1.0), (A, 2.0)], max_age_s=3.0)[0].fault(3.5) is not None


def test_who_has_no_identity_tells_nothing():
    assert heard([(A, 0.0), (b"", 0.1), (A, 0.2), (b"", 0.3)])[1] is None


def test_hundreds_of_restarts_are_not_remembered_for_ever():
    story = [(number.to_bytes(16, "big"), float(number)) for number in range(500)]
    speakers, fault = heard(story)
    assert fault is None
    assert len(speakers._heard_s) <= 16


@pytest.mark.parametrize("name", ["scan", "odom"])
def test_two_drivers_of_one_source_stop_the_robot(name):
    bench = Bench()
    bench.publishers = {"scan": A, "odom": A}
    bench.supervisor.sources.name_of = lambda publisher: "/left" if publisher == A else "/right"
    bench.drive()
    for number in range(20):
        bench.publishers[name] = (A, B)[number % 2]
        bench.tick(5)
    document = status(bench)
    assert document["sources"][name]["fault"] == "two publishers: /left and /right; end one of them"
    assert document["reasons"] == [f"{name}_bad"]
    assert bench.outputs[-1].command == (0.0, 0.0)
    bench.publishers[name] = B
    bench.tick(70)
    assert status(bench)["blocking"] == []


def test_a_driver_that_was_started_again_while_the_robot_drives_does_not_stop_it():
    bench = Bench()
    bench.publishers = {"scan": A, "odom": A}
    bench.drive()
    bench.publishers = {"scan": B, "odom": B}
    bench.tick(100)
    assert bench.state == "RUN"
