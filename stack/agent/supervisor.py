"""The agent's side of control.sock and operator.sock. It reads what it needs and lets newer supervisors say more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_registry.core import lines
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, fill
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS

OWNER = "homeport-agent"
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class SlotReport:
    """A slot as its action messages show it; counters count messages, `age_ms` is that of the newest."""

    release: str | None
    epoch: int | None
    age_ms: float | None
    actions: int
    run: int
    selectable: bool
    refusal: str | None
    non_finite: int
    limited: int

    def carries(self, release: Digest) -> bool:
        """Whether its actions are those of a release: they name its first 12 hex characters."""
        return self.release == release.short


@dataclass(frozen=True, slots=True)
class Reverted:
    """The supervisor took the wheel from `release` by itself."""

    release: str
    reason: str
    metric: str
    value: float | None
    threshold: float | None
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class View:
    """The supervisor's status; speeds in m/s and rad/s, battery as a fraction."""

    protocol: int
    version: str
    monotonic_ns: int
    armed: bool
    latched: tuple[str, ...]
    holders: tuple[str, ...]
    selected_slot: str | None
    selected_release: str | None
    reverted: Reverted | None
    slots: dict[str, SlotReport]
    linear: float
    angular: float
    battery: float | None
    faulty_sources: frozenset[str]
    unheard: tuple[str, ...] = ()
    """Publishers that it cannot hear, each a sentence; a supervisor from before that says nothing of them."""
    state: str = ""
    blocking: tuple[str, ...] = ()
    """What keeps it from being armed, or from moving."""
    hold_reasons: tuple[str, ...] = ()
    """Why each of `holders` holds it."""

    def drives(self, slot: str, release: Digest) -> bool:
        return self.selected_slot == slot and self.selected_release == str(release)

    @classmethod
    def read(cls, reader: Reader) -> View:
        selected = reader.child("selected") if reader.has("selected") else None
        slots = reader.child("slots")
        speed = reader.child("speed")
        sources = reader.table("sources", Reader)
        return fill(
            cls,
            reader,
            holders=reader.objects("holders", lambda holder: holder.text("owner")),
            hold_reasons=reader.objects("holders", lambda holder: holder.text("reason")),
            selected_slot=selected and selected.text("slot"),
            selected_release=selected and selected.text("release"),
            reverted=fill(Reverted, reader.child("reverted")) if reader.has("reverted") else None,
            slots={slot: fill(SlotReport, slots.child(slot)) for slot in SLOTS},
            linear=speed.number("linear"),
            angular=speed.number("angular"),
            faulty_sources=frozenset(name for name, source in sources.items() if source.has("fault")),
            unheard=reader.texts("unheard"),
        )


class SupervisorClient:
    """A client; every call raises HomeportError when the supervisor does not answer."""

    def __init__(self, control: Path, operator: Path) -> None:
        self._control = control
        self._operator = operator

    def _control_call(self, verb: str, **fields: object) -> Reader:
        return Reader(lines.call(self._control, lines.request(verb, **fields), _TIMEOUT_S), "supervisor")

    def view(self) -> View:
        return View.read(self._control_call("status"))

    def try_view(self) -> View | None:
        """The status, or None when there is none to be had."""
        try:
            return self.view()
        except HomeportError:
            return None

    def select(self, slot: str, release: Digest, probation_s: float, fallback: str | None) -> int:
        """Let `slot` drive; returns the monotonic ns of the tick. Raises RefusedError with the supervisor's reason."""
        fields = {"slot": slot, "release": str(release), "probation_s": probation_s, "fallback": fallback}
        return self._control_call("select", **fields).integer("monotonic_ns")

    def hold(self, owner: str, reason: str) -> None:
        self._control_call("hold", owner=owner, reason=reason[:200])

    def unhold(self, *owners: str) -> bool:
        """Give back the holds that these owners have; returns whether there was one."""
        ours = [holder for holder in self.view().holders if holder in owners]
        for owner in ours:
            self._control_call("unhold", owner=owner)
        return bool(ours)

    def operate(self, verb: str, **fields: object) -> None:
        """`arm` or `reset`, as the operator. Raises RefusedError with what blocks it."""
        lines.call(self._operator, lines.request(verb, **fields), _TIMEOUT_S)
