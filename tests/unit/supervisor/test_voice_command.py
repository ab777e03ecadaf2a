"""Voice commands: normalised, bounded, mortal if so configured, and "stop" without a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.command import MAX_TEXT, VoiceCommand, normalise


@pytest.mark.parametrize("word", ["stop", "STOP!", " halt. ", "Please  stop"])
def test_stop_words_become_stop(word):
    command = VoiceCommand(None)
    assert not command.accept(word, 0.0)
    assert (command.text, command.stopped) == ("stop", True)


@pytest.mark.parametrize("word", ["estop", "Emergency stop!"])
def test_emergency_words_ask_for_the_latch(word):
    assert VoiceCommand(None).accept(word, 0.0)


@pytest.mark.parametrize("text", ["", "  \n\t ", "\x00\x07"])
def test_nothing_said_changes_nothing(text):
    command = VoiceCommand(None)
    command.accept("go on", 0.0)
    command.accept(text, 1.0)
    assert command.document(1.0) == {"text": "go on", "seq": 1, "remaining_s": None}


def test_a_command_with_a_life_ends_in_standstill():
    command = VoiceCommand(10.0)
    command.accept("turn left", 0.0)
    assert command.document(4.0) == {"text": "turn left", "seq": 1, "remaining_s": 6.0}
    command.expire(10.0)
    assert command.document(10.0) == {"text": "", "seq": 2, "remaining_s": None}
    assert command.stopped


@given(st.text())
def test_no_text_is_long_or_carries_control_characters(text):
    words = normalise(text)
    assert len(words) <= MAX_TEXT
    assert words.isprintable()
