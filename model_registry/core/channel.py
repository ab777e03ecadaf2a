"""The channel record: which release a channel leads to now, and which ones nobody may go to any more.

Signed as a whole; its number only rises.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date

from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_COUNTER, Reader, dump, parse
from model_registry.core.errors import UsageError
from model_registry.core.release import check_name, check_version

PAYLOAD_TYPE = "application/vnd.homeport.channel.v1+json"
MOST_REVOKED = 256
"""So that a record fits into one request to a robot, which remembers what earlier ones have said."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """`expires` is the last day (UTC) on which the channel may be followed; what is revoked stays so.

    `min_version` is for who follows it. `trust` is the number of the trust document under whose keys it was signed, 0
    where there is none: a higher one begins the count of `seq` anew, which is the way out when a key that is retired
    since has signed the highest number there is.
    """

    name: str
    channel: str
    seq: int
    digest: Digest
    expires: str
    min_version: str
    revoked: tuple[Digest, ...]
    trust: int = 0

    @classmethod
    def parse(cls, payload: bytes) -> ChannelRecord:
        """Raises UsageError naming the key."""
        reader = Reader(parse(payload, "channel"), "channel")
        reader.schema()
        record = cls(
            name=check_name(reader.text("name"), "channel.name"),
            channel=check_name(reader.text("channel"), "channel.channel"),
            seq=reader.integer("seq", 1, MAX_COUNTER),
            digest=reader.digest("digest"),
            expires=reader.text("expires"),
            min_version=check_version(reader.text("min_version"), "channel.min_version"),
            revoked=reader.items("revoked", Digest.parse),
            trust=reader.integer("trust", 0, MAX_COUNTER) if reader.has("trust") else 0,
        )
        reader.done()
        if not _is_day(record.expires):
            raise UsageError(f"channel.expires: expected a day such as 2027-01-31, got {record.expires[:80]!r}")
        if len(record.revoked) > MOST_REVOKED or record.digest in record.revoked:
            raise UsageError(f"channel.revoked: expected at most {MOST_REVOKED} releases, and not the one in `digest`")
        return record

    def payload(self) -> bytes:
        """The bytes that are signed."""
        fields = {"schema": 1, **asdict(self), "digest": str(self.digest), "revoked": sorted(map(str, self.revoked))}
        if not self.trust:
            del fields["trust"]
        return dump(fields)

    @property
    def title(self) -> str:
        return f"{self.name}:{self.channel}"

    @property
    def shown(self) -> str:
        """How messages name it, such as `channel record pilot:stable 7`."""
        return f"channel record {self.title} {self.seq}"


def _is_day(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False
