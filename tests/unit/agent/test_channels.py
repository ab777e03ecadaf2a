"""What a robot believes of a channel record: its number, its day, the oldest version, the trust it was signed under.

`hear` is what `stage --channel-record` and a robot that follows its channel have in common.
"""

from __future__ import annotations

import calendar
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_COUNTER, dump
from model_registry.core.errors import RefusedError, UntrustedError, UsageError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from model_registry.core.release import Release
from stack.agent.disk.channels import HeardRecord, hear
from stack.agent.machine.clock import Clock
from stack.agent.settings.config import ChannelSettings
from tests.fakes.trust import Signer, record, robot_that_trusts, trust_document
from tests.unit.model_registry.test_documents import RELEASE

A, B = Signer(), Signer()
WARN, REFUSE = ChannelSettings(), ChannelSettings("refuse")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return robot_that_trusts(tmp_path, A)


def told(layout: Layout, envelope: bytes, settings: ChannelSettings = WARN, day: str = "2027-06-01") -> HeardRecord:
    """What a robot has heard, and keeps, on that day."""
    seconds = float(calendar.timegm(time.strptime(day, "%Y-%m-%d")))
    heard = hear(layout, settings, envelope, Clock(now=lambda: seconds, state=lambda: 0))
    heard.known.save(layout, Files())
    return heard


def rotate(layout: Layout, number: int = 1) -> None:
    layout.trust.mkdir()
    (layout.trust / f"{number}.dsse.json").write_bytes(trust_document(number, [A], [B]))


def test_the_same_number_with_other_content_is_refused_and_the_same_record_again_is_not(layout: Layout) -> None:
    told(layout, record(7, A))
    assert told(layout, record(7, A)).record.seq == 7, "signed once more, the same words"
    before = layout.revoked.read_bytes()
    with pytest.raises(RefusedError, match="another record with this number"):
        told(layout, record(7, A, revoked=[f"sha256:{'1' * 64}"]))
    assert layout.revoked.read_bytes() == before


def test_what_an_earlier_agent_kept_is_only_a_number_and_the_first_record_with_it_counts(layout: Layout) -> None:
    layout.revoked.write_text(json.dumps({"schema": 1, "seen": {"pilot:stable": 7}, "releases": {}}))
    with pytest.raises(RefusedError, match="has seen 7 already"):
        told(layout, record(6, A))
    told(layout, record(7, A))
    with pytest.raises(RefusedError, match="another record"):
        told(layout, record(7, A, min_version="1.0.0"))


def test_an_expired_record_is_only_said_unless_the_settings_refuse_it(layout: Layout) -> None:
    envelope = record(7, A, expires="2027-05-31")
    assert told(layout, envelope, REFUSE, "2027-05-31").heed_expiry() == ()
    [said] = told(layout, envelope).heed_expiry()
    assert said == "channel record pilot:stable 7: expired on 2027-05-31, and today is 2027-06-01"
    with pytest.raises(RefusedError, match="expired on 2027-05-31"):
        told(layout, envelope, REFUSE).heed_expiry()


def test_a_robot_that_refuses_what_is_expired_has_to_know_the_day(layout: Layout) -> None:
    doubtful = Clock(now=lambda: 0.0, state=lambda: 0)
    assert hear(layout, WARN, record(1, A), doubtful).heed_expiry() == ()
    with pytest.raises(RefusedError, match="whether it has expired is not known here"):
        hear(layout, REFUSE, record(1, A), doubtful).heed_expiry()


def release_of(version: str) -> Release:
    return Release.parse(dump({**RELEASE, "version": version}))


def test_an_older_release_than_the_minimum_is_said_or_refused_and_never_followed_to(layout: Layout) -> None:
    old, new = release_of("1.3.9"), release_of("1.4.0")
    for settings in (WARN, REFUSE):
        heard = told(layout, record(7, A, min_version="1.4.0", digest=str(old.digest)), settings)
        assert heard.heed(new) == ()
        with pytest.raises(RefusedError, match=r"asks for version 1\.4\.0 at least, and this is 1\.3\.9"):
            heard.heed(old, followed=True)
    with pytest.raises(RefusedError, match=r"asks for version 1\.4\.0"):
        heard.heed(old)
    [said] = replace(heard, settings=WARN).heed(old)
    assert "asks for version 1.4.0 at least" in said


def test_who_follows_gets_exactly_what_the_record_leads_to(layout: Layout) -> None:
    release = release_of("1.4.0")
    assert told(layout, record(1, A, digest=str(release.digest))).heed(release, followed=True) == ()
    for more in ({"digest": str(Digest.of(b"another"))}, {"digest": str(release.digest), "name": "other"}):
        with pytest.raises(RefusedError, match="leads to"):
            told(layout, record(2, A, **more)).heed(release, followed=True)


@pytest.mark.parametrize(
    "seq", [0, MAX_COUNTER + 1, 2**63, 10**400, 1.0, True], ids=lambda seq: f"{str(seq)[:6]} of {len(str(seq))}"
)
def test_a_number_beyond_what_every_reader_holds_exactly_is_no_number(layout: Layout, seq: int) -> None:
    with pytest.raises(UsageError, match=r"channel\.seq"):
        told(layout, record(seq, A))
    assert not layout.revoked.exists()


def test_a_counter_that_was_driven_up_has_a_signed_way_out(layout: Layout) -> None:
    told(layout, record(MAX_COUNTER, A, revoked=[f"sha256:{'1' * 64}"]))
    with pytest.raises(RefusedError, match="has seen 9007199254740992 already"):
        told(layout, record(8, A))
    rotate(layout)
    for seq, signer in ((8, A), (MAX_COUNTER, A)):
        with pytest.raises(UntrustedError, match="retired"):
            told(layout, record(seq, signer, trust=1))
    with pytest.raises(RefusedError, match="after a rotation of keys"):
        told(layout, record(8, B))

    heard = told(layout, record(8, B, trust=1))

    assert heard.record.seq == 8 and len(heard.known.releases) == 1, "what was revoked stays so"
    with pytest.raises(RefusedError, match="has seen 8 already"):
        told(layout, record(7, B, trust=1))


def test_a_record_of_a_trust_that_this_robot_does_not_know_yet_is_refused(layout: Layout) -> None:
    with pytest.raises(RefusedError, match="signed under trust document 2, and this robot knows 0"):
        told(layout, record(1, A, trust=2))
