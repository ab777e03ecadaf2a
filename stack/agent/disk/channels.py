"""What a signed channel record tells this robot. `hear` is the one check that every record passes, whoever brings it.

An operator gives records with `stage --channel-record`; a robot that follows its channel fetches them. Both do:

    heard = hear(host.layout, host.config.channel, envelope)
    heard.known.save(host.layout, host.store.files)     # what is revoked is kept, also when the rest is refused
    for doubt in heard.heed_expiry(): …                 # outdated: said, or refused where agent.toml says so
    for doubt in heard.heed(release): …                 # the same, once the release's document is here
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from model_registry.core.channel import PAYLOAD_TYPE, ChannelRecord
from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError
from model_registry.core.layout import Layout
from model_registry.core.release import Release, version_key
from stack.agent.disk.revocations import Revocations, SeenRecord
from stack.agent.disk.trusting import trust_of
from stack.agent.machine.clock import Clock
from stack.agent.settings.config import ChannelSettings


@dataclass(frozen=True, slots=True)
class HeardRecord:
    """A record that was checked. `known` is what the robot knows after it; `expired` says why it may not be followed.

    `settings.outdated` decides whether what is outdated is only said or refused.
    """

    record: ChannelRecord
    known: Revocations
    settings: ChannelSettings
    expired: str | None

    def heed_expiry(self) -> tuple[str, ...]:
        """What to tell the operator, in sentences. Raises RefusedError where the settings refuse an expired record."""
        return self._outdated(self.expired)

    def heed(self, release: Release, followed: bool = False) -> tuple[str, ...]:
        """The same about a release that is staged with this record, once its signed document is here.

        `followed`: nobody chose this release but the record, so it has to be exactly the one that was meant.
        """
        record = self.record
        if followed and (release.digest != record.digest or release.name != record.name):
            raise RefusedError(
                f"{record.shown}: leads to {record.digest} of {record.name}, and this is {release.digest} of "
                f"{release.name}; sign a record that names what it leads to"
            )
        older = release.name == record.name and version_key(release.version) < version_key(record.min_version)
        text = f"{record.shown}: asks for version {record.min_version} at least, and this is {release.version}"
        if older and followed:
            raise RefusedError(f"{text}; sign a record that leads to a newer release")
        return self._outdated(text if older else None)

    def _outdated(self, text: str | None) -> tuple[str, ...]:
        if text is None:
            return ()
        if self.settings.outdated == "refuse":
            raise RefusedError(f"{text}; give the robot a newer record or release")
        return (text,)


def hear(layout: Layout, settings: ChannelSettings, envelope: bytes, clock: Clock | None = None) -> HeardRecord:
    """Check a signed channel record (a DSSE envelope) and what it does to what this robot knows; writes nothing.

    Signature and number of signatures, the grammar of the document, its number: a lower one than was seen, and the same
    one with other content, are refused. A record that was signed under a newer trust document than the newest one that
    was seen begins the count anew.

    Raises UntrustedError, UsageError or RefusedError. Expiry is not judged here: see `HeardRecord.heed_expiry`.
    """
    trust = trust_of(layout)
    payload = trust.verify(envelope, PAYLOAD_TYPE, "channel record")
    record = ChannelRecord.parse(payload)
    known = Revocations.load(layout)
    seen = SeenRecord(record.seq, record.trust, Digest.of(payload).hex)
    if record.trust > trust.number:
        raise RefusedError(
            f"{record.shown}: signed under trust document {record.trust}, and this robot knows {trust.number}; give it "
            "that document first (homeport-agent trust)"
        )
    _check_number(record, known.seen.get(record.title, SeenRecord(0)), seen)
    new = dict.fromkeys(record.revoked, record.shown)
    after = Revocations({**known.seen, record.title: seen}, {**new, **known.releases})
    return HeardRecord(record, after, settings, _expired(layout, record, settings, clock or Clock()))


def _check_number(record: ChannelRecord, newest: SeenRecord, seen: SeenRecord) -> None:
    if (seen.trust, seen.seq) < (newest.trust, newest.seq):
        raise RefusedError(
            f"{record.shown}: this robot has seen {newest.seq} already; give it the newest one, or after a rotation of "
            "keys one with the number of the trust document"
        )
    same = (seen.trust, seen.seq) == (newest.trust, newest.seq)
    if same and newest.payload not in ("", seen.payload):
        raise RefusedError(
            f"{record.shown}: this robot has seen another record with this number; raise seq, and find out who signed "
            "the other one"
        )


def _expired(layout: Layout, record: ChannelRecord, settings: ChannelSettings, clock: Clock) -> str | None:
    today = time.strftime("%Y-%m-%d", time.gmtime(clock.now()))
    if today > record.expires:
        return f"{record.shown}: expired on {record.expires}, and today is {today}"
    if settings.outdated == "refuse" and (doubt := clock.doubt(layout)) is not None:
        return f"{record.shown}: whether it has expired is not known here: the clock {doubt}"
    return None
