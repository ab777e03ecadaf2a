"""The agent's side of control.sock and operator.sock. It reads what it needs and lets newer supervisors say more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_registry.core import lines
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS

OWNER = "homeport-agent"
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class SlotView:
    """A slot as its action messages show it; counters count messages."""

    release: str | None
    epoch: int | None
    actions: int
    run: int
    selectable: bool
    refusal: str | None
    non_finite: int
    limited: int

    @classmethod
    def read(cls, reader: Reader) -> SlotView:
        return cls(
            reader.text("release") if reader.has("release") else None,
            reader.integer("epoch") if reader.has("epoch") else None,
            reader.integer("actions"),
            reader.integer("run"),
            reader.boolean("selectable"),
            reader.text("refusal") if reader.has("refusal") else None,
            reader.integer("non_finite"),
            reader.integer("limited"),
        )

    def carries(self, release: Digest) -> bool:
        """Whether its actions are those of a release: they name its first 12 hex characters."""
        return self.release == release.short


@dataclass(frozen=True, slots=True)
class Reverted:
    """The supervisor went back to `to` by itself."""

    release: str
    reason: str
    metric: str
    value: float | None
    threshold: float | None
    monotonic_ns: int

    @classmethod
    def read(cls, reader: Reader) -> Reverted:
        return cls(
            reader.text("release"),
            reader.text("reason"),
            reader.text("metric"),
            reader.number("value") if reader.has("value") else None,
            reader.number("threshold") if reader.has("threshold") else None,
            reader.integer("monotonic_ns"),
        )


@dataclass(frozen=True, slots=True)
class View:
    """The supervisor's status; speeds in m/s and rad/s, battery as a fraction."""

    protocol: int
    version: str
    state: str
    armed: bool
    latched: tuple[str, ...]
    blocking: tuple[str, ...]
    holders: tuple[str, ...]
    selected_slot: str | None
    selected_release: str | None
    reverted: Reverted | None
    slots: dict[str, SlotView]
    linear: float
    angular: float
    battery: float | None
    faulty_sources: frozenset[str]

    def drives(self, slot: str, release: Digest) -> bool:
        return self.selected_slot == slot and self.selected_release == str(release)

    @classmethod
    def read(cls, reader: Reader) -> View:
        selected = reader.child("selected") if reader.has("selected") else None
        slots, speed = reader.child("slots"), reader.child("speed")
        sources = reader.table("sources", Reader)
        return cls(
            protocol=reader.integer("protocol"),
            version=reader.text("version"),
            state=reader.text("state"),
            armed=reader.boolean("armed"),
            latched=reader.texts("latched"),
            blocking=reader.texts("blocking"),
            holders=reader.items("holders", lambda item, path: Reader(item, path).text("owner")),
            selected_slot=selected.text("slot") if selected else None,
            selected_release=selected.text("release") if selected else None,
            reverted=Reverted.read(reader.child("reverted")) if reader.has("reverted") else None,
            slots={slot: SlotView.read(slots.child(slot)) for slot in SLOTS},
            linear=speed.number("linear"),
            angular=speed.number("angular"),
            battery=reader.number("battery") if reader.has("battery") else None,
            faulty_sources=frozenset(name for name, source in sources.items() if source.has("fault")),
        )


class Supervisor:
    """A client; every call raises HomeportError when the supervisor does not answer."""

    def __init__(self, control: Path, operator: Path) -> None:
        self._control, self._operator = control, operator

    def view(self) -> View:
        return View.read(Reader(lines.call(self._control, lines.request("status"), _TIMEOUT_S), "supervisor"))

    def try_view(self) -> View | None:
        """The status, or None when there is none to be had."""
        try:
            return self.view()
        except HomeportError:
            return None

    def select(self, slot: str, release: Digest, probation_s: float, fallback: str | None) -> int:
        """Let `slot` drive; returns the monotonic ns of the tick. Raises RefusedError with the supervisor's reason."""
        line = lines.request("select", slot=slot, release=str(release), probation_s=probation_s, fallback=fallback)
        return Reader(lines.call(self._control, line, _TIMEOUT_S), "select").integer("monotonic_ns")

    def hold(self, owner: str, reason: str) -> None:
        lines.call(self._control, lines.request("hold", owner=owner, reason=reason), _TIMEOUT_S)

    def unhold(self, owner: str) -> None:
        lines.call(self._control, lines.request("unhold", owner=owner), _TIMEOUT_S)

    def drop_hold(self) -> None:
        """Give back the hold that this agent commanded, if there is one."""
        view = self.try_view()
        if view is not None and OWNER in view.holders:
            self.unhold(OWNER)

    def operate(self, verb: str) -> None:
        """`arm` or `reset`, as the operator. Raises RefusedError with what blocks it."""
        lines.call(self._operator, lines.request(verb), _TIMEOUT_S)
