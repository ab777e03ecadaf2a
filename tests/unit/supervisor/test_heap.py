"""The memory policy of the DDS profile is asked for where the profile has one that loses nothing, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.supervisor.heap import use_profiles

PROFILES = Path(__file__).parents[3] / "images" / "dds.xml"


def asked_for(path: Path) -> bool:
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(path)}
    use_profiles(environment)
    return environment.get("RMW_FASTRTPS_USE_QOS_FROM_XML") == "1"


def test_our_own_profile_frees_the_buffer_of_a_long_message():
    assert asked_for(PROFILES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DYNAMIC", "PREALLOCATED"),
        ("<historyMemoryPolicy>DYNAMIC</historyMemoryPolicy>", ""),
        ('profile_name="homeport_reader" is_default_profile="true"', 'profile_name="homeport_reader"'),
        ("PREALLOCATED_WITH_REALLOC</", "PREALLOCATED</"),
        ("</dds>", ""),
    ],
)
def test_a_profile_with_which_long_messages_would_be_lost_is_left_alone(tmp_path, before, after):
    text = PROFILES.read_text()
    assert before in text
    (tmp_path / "dds.xml").write_text(text.replace(before, after))
    assert not asked_for(tmp_path / "dds.xml")


def test_without_a_profile_nothing_is_asked_for(tmp_path):
    environment: dict[str, str] = {}
    use_profiles(environment)
    assert environment == {}
    assert not asked_for(tmp_path / "missing.xml")
