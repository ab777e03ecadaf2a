"""A library's reason in a message: its end, on one line, and the whole of it in the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.core.reasons import LENGTH, reason


def test_a_short_reason_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert reason(ValueError("it is\n  broken")) == "it is broken"
    assert caplog.records == []


def test_a_long_one_is_cut_at_its_front_and_goes_to_the_log_whole(caplog: pytest.LogCaptureFixture) -> None:
    text = "Load model from /a/b.onnx failed:" + "const std::vector<int>&, " * 40 + "Opset 30 is not released"
    said = reason(text, "/a/b.onnx")
    assert said.startswith("… ") and said.endswith("Opset 30 is not released")
    assert caplog.messages == [text]


def test_what_the_message_says_already_is_left_out() -> None:
    assert reason("cannot read /a/b.onnx: no such operator", "/a/b.onnx") == "cannot read …: no such operator"


@given(text=st.text(max_size=3 * LENGTH))
def test_it_is_one_line_of_bounded_length_and_ends_as_the_text_ends(text: str) -> None:
    said = reason(text)
    assert len(said) <= LENGTH and said.isprintable()
    assert reason(said) == said
