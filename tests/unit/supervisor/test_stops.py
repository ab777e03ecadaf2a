"""What stops the robot from outside: buttons kept apart, words that are carried out, strangers that are named,
publishers that nobody hears.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry.core.errors import RefusedError
from stack.supervisor import latch
from stack.supervisor.buttons import MAX_BUTTONS, Buttons
from stack.supervisor.ears import HeardSample
from stack.supervisor.graph import Endpoint, RosGraph, TopicView, node_name
from stack.supervisor.inputs import Arrived, InputTopic
from stack.supervisor.requests import OPERATOR
from stack.supervisor.state import LATCHING, NONE, Reason
from stack.supervisor.stops import ESTOP_TOPIC
from stack.supervisor.supervisor import Supervisor
from tests.fakes.ros import wait_until
from tests.fakes.supervision import COMMITTED, Bench, driving_pair, robot, select, status

FRONT, REAR = b"f" * 16, b"r" * 16
BOOL, VOICE = "std_msgs/msg/Bool", "/voice_command"


# Buttons


def test_one_buttons_release_does_not_let_go_another():
    buttons = Buttons()
    buttons.hear(FRONT, 1, True, 0.0)
    buttons.hear(REAR, 1, False, 0.1)
    assert buttons.pressed
    buttons.hear(FRONT, 2, False, 0.2)
    assert not buttons.pressed


def test_an_older_message_that_comes_late_changes_nothing():
    buttons = Buttons()
    buttons.hear(FRONT, 5, False, 0.0)
    buttons.hear(FRONT, 4, True, 0.1)
    assert not buttons.pressed


def test_a_button_that_vanished_while_pressed_stays_pressed_until_somebody_has_looked():
    buttons = Buttons()
    buttons.hear(FRONT, 1, True, 0.0)
    buttons.hear(REAR, 1, False, 0.0)
    buttons.tidy({REAR}, 100.0)
    assert buttons.pressed
    assert buttons.gone({REAR}, 100.0) == [FRONT]
    buttons.forget({FRONT, REAR}, 100.0)
    assert buttons.pressed, "one that is there is never forgotten"
    buttons.forget({REAR}, 100.0)
    assert not buttons.pressed


def test_a_button_that_was_let_go_and_is_gone_is_no_silence():
    buttons = Buttons()
    buttons.hear(FRONT, 1, False, 0.0)
    buttons.hear(REAR, 1, False, 50.0)
    assert buttons.quietest_s == 0.0
    buttons.tidy({REAR}, 50.0)
    assert buttons.quietest_s == 50.0


def test_more_buttons_than_can_be_kept_apart_count_as_pressed():
    buttons = Buttons()
    for number in range(MAX_BUTTONS + 1):
        buttons.hear(number.to_bytes(16, "big"), 1, False, 0.0)
    assert buttons.pressed
    buttons.forget(set(), 100.0)
    assert not buttons.pressed


def test_a_reset_is_refused_while_one_of_two_buttons_is_pressed_and_says_whose():
    bench = Bench()
    bench.drive()
    supervisor = bench.supervisor
    supervisor.stops.graph.look([TopicView(ESTOP_TOPIC, BOOL, (Endpoint(FRONT, "/front", BOOL, None),), 1)], 0.0)
    supervisor.estop(True, bench.now_s, FRONT, 1)
    supervisor.estop(False, bench.now_s, REAR, 1)
    bench.tick()
    answer = bench.operator("reset")
    assert isinstance(answer, RefusedError)
    assert "let go the e-stop of /front" in str(answer)
    assert {"publisher": "/front", "pressed": True, "gone": False} in status(bench)["buttons"]
    supervisor.estop(False, bench.now_s, FRONT, 2)
    bench.tick(20)
    assert isinstance(bench.operator("reset"), dict)


def test_a_reset_forgets_a_vanished_button_only_when_it_is_asked_to():
    bench = Bench()
    bench.tick(70)
    bench.supervisor.estop(True, bench.now_s, FRONT, 1)
    bench.supervisor.stops.graph.look([TopicView(ESTOP_TOPIC, BOOL, (), 0)], bench.now_s)
    bench.tick(150)
    answer = bench.operator("reset")
    assert isinstance(answer, RefusedError)
    assert "vanished while pressed" in str(answer)
    bench.ask(OPERATOR, b'{"v":1,"verb":"reset","gone":true}')
    bench.tick()
    assert isinstance(bench.ask(OPERATOR, b'{"v":1,"verb":"reset","gone":true}'), dict)
    assert status(bench)["buttons"] == []


def test_with_estop_declared_the_silence_of_one_of_two_buttons_stops():
    bench = Bench(robot(estop=True))
    for _ in range(70):
        for publisher in (FRONT, REAR):
            bench.supervisor.estop(False, bench.now_s, publisher, len(bench.outputs))
        bench.tick()
    assert "estop_stale" not in status(bench)["blocking"]
    for _ in range(60):
        bench.supervisor.estop(False, bench.now_s, REAR, len(bench.outputs))
        bench.tick()
    assert "estop_stale" in status(bench)["blocking"]


# Words


def test_a_stop_is_carried_out_before_another_command_is_taken():
    bench = Bench()
    bench.drive()
    for text in ("stop", "go on", "go to the red pillar"):
        bench.supervisor.voice.append(text)
    bench.tick()
    assert status(bench)["command"]["text"] == "stop"
    bench.supervisor.voice.append("go on")
    bench.tick(20)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert status(bench)["command"]["text"] == "stop"
    assert [event["reason"] for output in bench.outputs for event in output.events if event["event"] == "ignored"] == [
        "3 commands came before the robot stood; say them again"
    ]
    bench.supervisor.voice.append("go on")
    bench.tick(60)
    assert status(bench)["command"]["text"] == "go on"
    assert bench.outputs[-1].command[0] > 0.0


@pytest.mark.parametrize("behind", [1, 10, 100, 500])
def test_an_emergency_counts_however_many_texts_come_behind_it(behind):
    bench = Bench()
    bench.drive()
    bench.supervisor.voice.append("emergency stop")
    bench.supervisor.voice.extend(["go on"] * behind)
    bench.tick()
    assert bench.state == "LATCHED"


def test_a_site_word_stops_and_is_told_as_stop():
    from dataclasses import replace

    from model_registry.core.stop_words import StopWords

    bench = Bench(replace(robot(), stop_words=StopWords(stop=("停",))))
    bench.drive()
    bench.supervisor.voice.append("快停下")
    bench.tick()
    assert status(bench)["command"]["text"] == "stop"


# Queues


class Queue:
    """A subscription that holds these messages."""

    def __init__(self, *samples: HeardSample) -> None:
        self.samples = list(samples)

    def take(self) -> HeardSample | None:
        return self.samples.pop(0) if self.samples else None


def sample(number: int, publisher: bytes = FRONT, received_ns: int = 0) -> HeardSample:
    return HeardSample(b"", publisher, number, received_ns)


def test_what_several_subscriptions_heard_counts_once_in_the_order_of_arrival():
    came: list[Arrived] = []
    live = Queue(sample(1, received_ns=10), sample(3, received_ns=30))
    sure = Queue(sample(1, received_ns=11), sample(2, received_ns=20), sample(3, received_ns=31))
    topic = InputTopic([live, sure], 10, came.append)
    topic.take(0.0, 0.0, 0.0)
    assert [message.number for message in came] == [1, 2, 3]
    live.samples.append(sample(2, received_ns=40))
    topic.take(0.0, 0.0, 0.0)
    assert len(came) == 3


def test_the_same_number_of_another_publisher_is_another_message():
    came: list[Arrived] = []
    InputTopic([Queue(sample(1)), Queue(sample(1, REAR))], 10, came.append).take(0.0, 0.0, 0.0)
    assert len(came) == 2


@pytest.mark.parametrize(("count", "overflows"), [(9, 0), (10, 1)])
def test_a_full_queue_may_have_lost_something_and_says_so(count, overflows):
    told: list[None] = []
    queue = Queue(*(sample(number) for number in range(count)))
    InputTopic([queue], 10, lambda _: None, lambda: told.append(None)).take(0.0, 0.0, 0.0)
    assert len(told) == overflows


def test_what_was_lost_on_the_estop_topic_counts_as_pressed_and_is_told_once():
    bench = Bench()
    bench.drive()
    for _ in range(5):
        bench.supervisor.stops.overflow(ESTOP_TOPIC)
        bench.tick()
    assert bench.state == "LATCHED"
    assert [event["event"] for output in bench.outputs for event in output.events].count("overflow") == 1


# Strangers


def test_a_stranger_is_named_latches_and_is_forgotten_by_a_reset():
    bench = Bench()
    bench.drive()
    bench.supervisor.stops.graph.look([TopicView("/cmd_vel", "t", (Endpoint(REAR, "/teleop", "t", None),), 1)], 0.0)
    for _ in range(3):
        bench.supervisor.stops.accuse("/cmd_vel", REAR)
        bench.tick()
    assert status(bench)["strangers"] == ["/cmd_vel: /teleop writes it as well; stop it, then reset"]
    assert status(bench)["latched"] == ["second_writer"]
    bench.tick(20)
    bench.operator("reset")
    assert status(bench)["strangers"] == []


def test_a_second_publisher_of_a_slots_actions_latches_whatever_epoch_it_says():
    bench = Bench()
    bench.drive()
    from dataclasses import replace

    good = bench.message("a", ((0.3, 0.0),) * 8)
    forged = replace(good, header=f"{bench.releases['a'].short}/{bench.epoch + 1}/1", publisher=REAR)
    bench.supervisor.actions.append(("a", forged))
    bench.tick()
    assert bench.state == "LATCHED"
    assert bench.supervisor.views["a"].epoch == bench.epoch


def test_another_process_takes_a_silent_slots_place_and_one_that_is_shut_out_comes_in_by_a_reset():
    from dataclasses import replace

    bench = Bench()
    bench.drive()
    bench.speeds["a"] = None
    bench.speeds.clear()
    bench.tick(20)
    forged = replace(
        bench.message("a", ((0.3, 0.0),) * 8),
        header=f"{bench.releases['a'].short}/{int(bench.now_s * 1e9)}/1",
        publisher=REAR,
    )
    bench.supervisor.actions.append(("a", forged))
    bench.tick(20)
    assert bench.supervisor.views["a"].publisher == REAR
    bench.speeds["a"] = (0.3, 0.0)
    bench.tick(20)
    assert not bench.supervisor.views["a"].alive(bench.now_s)
    assert "older epoch" in str(bench.supervisor.views["a"].refusal(bench.now_s))
    bench.operator("reset")
    bench.tick(20)
    assert bench.supervisor.views["a"].alive(bench.now_s)


def test_selecting_again_and_again_does_not_clear_what_a_candidate_asked_for():
    bench = driving_pair()
    bench.speeds["b"] = (3.0, 0.0)
    for number in range(200):
        slot, release = ("b", bench.releases["b"]) if number % 2 == 0 else ("a", bench.releases["a"])
        select(bench, slot, release, 10.0, "a" if slot == "b" else "b")
        if bench.supervisor.views["b"].failed:
            break
    assert bench.supervisor.views["b"].failed == "limited"


# The graph


def view(topic: str, *ends: Endpoint, connected: int | None = None) -> TopicView:
    return TopicView(topic, BOOL, ends, len(ends) if connected is None else connected)


RIGHT = Endpoint(FRONT, "/front", BOOL, None)


def test_a_publisher_of_another_type_is_named_and_stops_on_a_topic_that_must_be_heard():
    graph = RosGraph((ESTOP_TOPIC, VOICE))
    wrong = Endpoint(REAR, "/rear", "std_msgs/msg/Empty", None)
    found = graph.look([view(ESTOP_TOPIC, RIGHT, wrong, connected=1)], 0.0)
    assert found.sentences == (
        "/safety/estop: /rear sends std_msgs/msg/Empty, expected std_msgs/msg/Bool; change its type or its topic",
    )
    assert found.stops
    assert not graph.look([view("/scan", wrong, connected=0)], 0.0).stops
    assert graph.look([view(ESTOP_TOPIC, RIGHT)], 0.0).sentences == ()


def test_a_publisher_whose_qos_does_not_match_is_named_with_the_reason():
    wrong = Endpoint(REAR, "/rear", BOOL, "ERROR: Best effort publisher and reliable subscription;")
    [sentence] = RosGraph((ESTOP_TOPIC,)).look([view(ESTOP_TOPIC, wrong, connected=0)], 0.0).sentences
    assert "/rear" in sentence and "Best effort" in sentence


def test_one_that_stays_unconnected_is_named_after_the_time_that_discovery_takes():
    graph = RosGraph((ESTOP_TOPIC,))
    lonely = view(ESTOP_TOPIC, RIGHT, connected=0)
    assert graph.look([lonely], 10.0).sentences == ()
    assert graph.look([lonely], 11.0).sentences == ()
    [sentence] = graph.look([lonely], 12.5).sentences
    assert "/front" in sentence and "DDS partition" in sentence
    assert graph.look([view(ESTOP_TOPIC, RIGHT)], 13.0).sentences == ()
    assert graph.look([lonely], 13.5).sentences == ()


def test_a_publisher_without_a_node_is_told_by_its_gid():
    assert node_name("/", "button", FRONT) == "/button"
    assert node_name("/rear/", "button", FRONT) == "/rear/button"
    assert FRONT.hex() in node_name("_NODE_NAMESPACE_UNKNOWN_", "_NODE_NAME_UNKNOWN_", FRONT)


def test_a_robot_with_a_button_that_cannot_be_heard_is_not_armed():
    bench = Bench()
    bench.tick(70)
    wrong = Endpoint(REAR, "/rear", "std_msgs/msg/Empty", None)
    stops = bench.supervisor.stops
    stops.unheard = stops.graph.look([view(ESTOP_TOPIC, wrong, connected=0)], 0.0)
    answer = bench.operator("arm")
    assert isinstance(answer, RefusedError)
    assert "unheard" in str(answer)
    assert "/rear" in status(bench)["unheard"][0]


# The latch


def test_what_is_latched_survives_a_restart_until_somebody_resets(tmp_path: Path):
    path = tmp_path / "latched.json"
    writer = latch.LatchWriter(path, NONE)
    writer.start()
    writer.note(Reason.ESTOP | Reason.NON_FINITE)
    wait_until(lambda: latch.read(path) == Reason.ESTOP | Reason.NON_FINITE, 5.0, "the latch to be written")
    bench = Bench()
    bench.supervisor = Supervisor(robot(), COMMITTED, latch.read(path))
    bench.tick(70)
    assert bench.state == "LATCHED"
    assert isinstance(bench.operator("reset"), dict)
    writer.note(bench.supervisor.machine.latched)
    writer.stop(5.0)
    assert latch.read(path) == NONE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema":1}', '{"schema":1,"latched":["no_such_reason"]}', "\0" * 9])
def test_a_latch_that_cannot_be_read_is_latched(tmp_path: Path, text: str):
    path = tmp_path / "latched.json"
    path.write_text(text)
    assert latch.read(path) == Reason.EXCEPTION


def test_no_file_is_no_latch_and_only_what_latches_is_read(tmp_path: Path):
    path = tmp_path / "latched.json"
    assert latch.read(path) == NONE
    path.write_text(json.dumps({"schema": 1, "latched": ["estop", "obstacle"]}))
    assert latch.read(path) == Reason.ESTOP & LATCHING


def test_a_latch_that_cannot_be_written_stops_nothing(tmp_path: Path):
    writer = latch.LatchWriter(tmp_path / "missing" / "latched.json", NONE)
    writer.start()
    writer.note(Reason.ESTOP)
    writer.stop(5.0)
    assert not writer.is_alive()
