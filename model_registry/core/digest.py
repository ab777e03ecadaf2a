"""The digest type. Every name that becomes a path or a request passes this grammar first."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.errors import IntegrityError, UsageError

_GRAMMAR = re.compile(r"sha256:[0-9a-f]{64}")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class Digest:
    """A sha256 digest; `str()` gives `sha256:<64 hex>`."""

    hex: str

    @classmethod
    def parse(cls, text: object, what: str = "digest") -> Digest:
        """Read `sha256:<64 hex>`. Raises UsageError naming `what`; a tag is never accepted where a digest belongs."""
        if not isinstance(text, str) or not _GRAMMAR.fullmatch(text):
            raise UsageError(
                f"{what}: expected sha256: and 64 hex characters, got {str(text)[:80]!r}; give the digest, not a tag"
            )
        return cls(text[7:])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Hash a file in pieces of 1 MiB."""
        state = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                state.update(piece)
        return cls(state.hexdigest())

    @property
    def short(self) -> str:
        """The first 12 hex characters, as they stand in action messages and tables."""
        return self.hex[:12]

    def check(self, data: bytes, what: str) -> bytes:
        """Return `data` when it has this digest. Raises IntegrityError."""
        self._expect(Digest.of(data), what)
        return data

    def check_file(self, path: Path, what: str) -> None:
        """Raises IntegrityError when the file's bytes do not have this digest."""
        self._expect(Digest.of_file(path), what)

    def _expect(self, actual: Digest, what: str) -> None:
        if actual != self:
            raise IntegrityError(
                f"{what}: expected {self}, got {actual}; the copy is damaged or was replaced: fetch it again"
            )

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
