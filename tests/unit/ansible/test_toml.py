"""Whatever an inventory says in whatever script: what the role writes is TOML that says the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tomllib
from ansible.errors import AnsibleFilterError
from ansible.template import trust_as_template
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homeport.fleet.plugins.filter.toml import key, toml
from tests.unit.ansible.test_device_role import ROLE, templar

TEMPLATES = sorted((ROLE / "templates").glob("*.toml.j2"))
WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def test_every_character_there_is_comes_back() -> None:
    everything = "".join(chr(number) for number in range(sys.maxunicode + 1) if not 0xD800 <= number <= 0xDFFF)

    found = tomllib.loads(f"value = {toml(everything)}\n{key(everything)} = 1\n")

    assert found == {"value": everything, everything: 1}


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}") == {"value": value}


@pytest.mark.parametrize("value", [None, "\ud83d", b"bytes", object()])
def test_what_toml_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(AnsibleFilterError, match=r"is no character|expected text"):
        toml(value)


@settings(max_examples=25)
@given(WORDS, WORDS)
def test_each_template_writes_what_the_inventory_says(word: str, name: str) -> None:
    texts = {
        **dict.fromkeys(("homeport_name", "homeport_site", "homeport_embodiment", "homeport_repository"), word),
        "homeport_source": f"https://{word}",
        "homeport_topics": {name: word},
        "homeport_voice": {"stop": [word, name]},
        "homeport_cameras": {name: {"topic": word}},
        "homeport_joints": {name: {"unit": word}},
        "homeport_slot_environment": {name: word},
        "homeport_hook": {"command": ["/opt/may-change", word]},
        "homeport_windows": [{"days": ["sat"], "at": word, "for": "3h", "tz": word}],
    }
    found = {}
    for path in TEMPLATES:
        rendered = templar(**texts).template(trust_as_template(path.read_text()))
        found[path.name] = tomllib.loads(str(rendered))

    robot, agent = found["robot.toml.j2"], found["agent.toml.j2"]
    assert [robot[each] for each in ("name", "site", "embodiment")] == [word] * 3
    assert (robot["topics"], robot["voice"]) == ({name: word}, {"stop": [word, name]})
    assert (robot["cameras"], robot["joints"]) == ({name: {"topic": word}}, {name: {"unit": word}})
    assert (agent["source"], agent["repository"]) == (f"https://{word}", word)
    assert agent["environment"] == {name: word}
    assert (agent["hook"]["command"][1], agent["windows"][0]["at"], agent["windows"][0]["tz"]) == (word, word, word)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_writes_toml_by_other_means(path: Path) -> None:
    text = path.read_text()

    assert "to_json" not in text and "{{ key }}" not in text
    plain = [line for line in text.splitlines() if "= {{" in line and "homeport_toml }}" not in line]
    assert all(line.split("|")[-1].strip(" }") in ("int", "float") for line in plain), plain
