"""The one DDS profile: every participant announces itself so often that a lost announcement costs nobody a second."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

PROFILE = ElementTree.parse(Path(__file__).parents[3] / "images" / "dds.xml").getroot()
NAMES = {"dds": "http://www.eprosima.com"}
LEASE_S = 20.0
"""How long a silent participant counts as alive: the default of Fast DDS."""


def seconds(path: str) -> float:
    time = PROFILE.find(".//" + "/".join(f"dds:{part}" for part in path.split("/")), NAMES)
    assert time is not None, path
    return int(time.findtext("dds:sec", "", NAMES)) + int(time.findtext("dds:nanosec", "", NAMES)) / 1e9


@pytest.mark.parametrize("path", ["discovery_config/leaseAnnouncement", "initialAnnouncements/period"])
def test_a_participant_announces_itself_within_half_a_second(path: str) -> None:
    assert 0.0 < seconds(path) <= 0.5


def test_many_announcements_in_a_row_may_be_lost_before_a_participant_is_forgotten() -> None:
    assert seconds("discovery_config/leaseAnnouncement") <= LEASE_S / 10


@pytest.mark.parametrize(
    ("kind", "policy"),
    [("data_reader", "DYNAMIC"), ("data_writer", "PREALLOCATED_WITH_REALLOC")],
    ids=lambda each: each,
)
def test_a_process_that_asks_for_the_profile_loses_no_long_message_and_shares_no_memory(kind: str, policy: str) -> None:
    default = PROFILE.find(f".//dds:{kind}[@is_default_profile='true']", NAMES)
    assert default is not None
    assert default.findtext("dds:historyMemoryPolicy", "", NAMES) == policy
    assert default.findtext("dds:qos/dds:data_sharing/dds:kind", "", NAMES) == "OFF"
