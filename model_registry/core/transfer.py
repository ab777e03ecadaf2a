"""How far a transfer is, as one program tells another: lines that begin with PROGRESS, on stderr."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from model_registry.core.documents import Reader, parse

PROGRESS = "progress: "
_MAX_BYTES = 1000


@dataclass(frozen=True)
class Transfer:
    """Bytes that are here (`done`) and in all (`total`), bytes a second of late (`rate`), seconds to go (`left_s`);
    None for what is not known.
    """

    done: int
    total: int | None
    rate: int
    left_s: int | None

    @classmethod
    def parse(cls, text: str) -> Transfer:
        """Read what follows PROGRESS. Raises UsageError."""
        reader = Reader(parse(text.encode(), "progress", _MAX_BYTES), "progress")
        return cls(
            done=reader.integer("done"),
            total=reader.integer("total") if reader.has("total") else None,
            rate=reader.integer("rate"),
            left_s=reader.integer("left_s") if reader.has("left_s") else None,
        )

    def document(self) -> dict[str, object]:
        """The same as JSON has it; null for what is not known."""
        return asdict(self)
