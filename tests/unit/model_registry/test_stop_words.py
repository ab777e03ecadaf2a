"""Which texts mean stop: however a speech recogniser writes them, and in a site's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from model_registry.core.stop_words import EMERGENCY, LONGEST, STOP, Meaning, StopWords, words_of

SITE = StopWords(
    stop=("停", "止まれ", "หยุด", "रुको", "arrête", "ne bouge plus", "стой"), emergency=("arrêt d'urgence", "緊急停止")
)


@pytest.mark.parametrize(
    "text",
    [
        "stop", "STOP!", "Stop! Stop!", "Stop, stop, stop.", "No, stop!", "please stop now", "Stop it.", "stop。",
        "ＳＴＯＰ", "¡Stop!", "stop_it",
        "non-stop", "do not stop", "Stop! Not to the red pillar!", "halt", "freeze", "stand   still", "\n\tstop\0",
        "ſtop", "go … stop",
    ],
)  # fmt: skip
def test_a_stop_word_among_the_words_stops(text: str) -> None:
    assert StopWords().heard_in(text) is Meaning.STOP


@pytest.mark.parametrize(
    "text", ["estop", "E-Stop!", "e stop", "Emergency stop! Emergency stop!", "stop, it's an emergency",
             "EMERGENCY: halt", "Ｅ－ＳＴＯＰ"]
)  # fmt: skip
def test_an_emergency_word_or_emergency_and_a_stop_word_is_the_emergency_stop(text: str) -> None:
    assert StopWords().heard_in(text) is Meaning.EMERGENCY


@pytest.mark.parametrize(
    "text", ["", "!?", "go to the red pillar", "stopped", "unstoppable", "an emergency exit", "stopwatch", "halting"]
)
def test_other_words_mean_nothing(text: str) -> None:
    assert StopWords().heard_in(text) is Meaning.NOTHING


@pytest.mark.parametrize(
    "text",
    ["请停车", "止まれ！", "今すぐ止まれ", "หยุดเดี๋ยวนี้", "अब रुको",
     "ARRÊTE!", "arre\u0302te", "Ne bouge plus.", "СТОЙ!", "please停"],
)  # fmt: skip
def test_a_site_has_its_own_words_in_any_script(text: str) -> None:
    assert SITE.heard_in(text) is Meaning.STOP
    assert StopWords().heard_in(text) is Meaning.NOTHING


@pytest.mark.parametrize("text", ["緊急停止して", "Arrêt d’urgence!", "emergency! arrête!"])
def test_a_site_has_its_own_emergency_words(text: str) -> None:
    assert SITE.heard_in(text) is Meaning.EMERGENCY


@pytest.mark.parametrize("word", [*STOP, *EMERGENCY])
def test_a_site_never_takes_the_built_in_words_away(word: str) -> None:
    assert SITE.heard_in(word) is not Meaning.NOTHING


@given(st.text(), st.text())
def test_a_stop_word_set_apart_is_found_in_any_text(before: str, after: str) -> None:
    text = f"{before[:1000]}. stop! {after}"

    assert StopWords().heard_in(text) is not Meaning.NOTHING


@given(st.text(max_size=2 * LONGEST))
def test_words_are_letters_with_marks_and_digits_in_one_form(text: str) -> None:
    words = words_of(text)

    assert all(words)
    assert words_of(" ".join(words)) == words


@pytest.mark.parametrize("wrong", ['["!?"]', '[""]', "[3]", '"stop"'])
def test_a_word_without_a_letter_is_refused_and_named(wrong: str) -> None:
    import json

    with pytest.raises(UsageError, match=r"robot\.toml\.voice\.stop"):
        StopWords.read(Reader({"stop": json.loads(wrong)}, "robot.toml.voice"))
