"""The doctor's lines about what is heard: `topics` by the supervisor, `inputs` by the slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS, linked_slot
from stack.agent.doctor.examine import Doubt, Patient
from stack.agent.gate.samples import SlotStatus
from stack.agent.machine.processes import recall

_SILENT_MS = 2000.0


class _Refused(NamedTuple):
    """An input that a slot does not use. `drives`: it keeps the committed release from driving."""

    reason: str
    remedy: str
    drives: bool


def topics(patient: Patient) -> str:
    """What the supervisor misses or cannot hear.

    Of cameras and joints, which only slots hear, it is told here where a slot gives nothing but their age.
    """
    names = patient.robot.topics
    sources = patient.supervisor.table("sources", Reader)
    unheard = patient.supervisor.texts("unheard")
    silent = [
        f"{names.get(name, name)} ({source.text('fault')})" for name, source in sources.items() if source.has("fault")
    ]
    slot = linked_slot(patient.layout)
    status = None if slot is None else _status(patient, slot)
    if status is not None:
        silent += _unheard(patient, status, frozenset(sources))
    remedies = []
    if silent:
        domain = patient.config.domain_id
        remedies.append(f"start its driver, in ROS domain {domain} and with a transport that the DDS profile has")
    if unheard:
        remedies.append("let what is not heard publish the type in docs/interfaces.md, or end it")
    if remedies:
        told = [f"silent: {', '.join(silent)}"] if silent else []
        told += [f"not heard: {text.rstrip('.')}" for text in unheard]
        raise HomeportError(f"{'. '.join(told)}; {', and '.join(remedies)}")
    return f"{', '.join(sorted(sources))} are heard"


def inputs(patient: Patient) -> str:
    """What both slots do not use of what they hear, whether they drive or not."""
    drives = linked_slot(patient.layout)
    refused: list[_Refused] = []
    well: list[str] = []
    for slot in SLOTS:
        if (status := _status(patient, slot)) is None:
            continue
        if not status.faults:
            why = f" (says nothing: {status.void_reason})" if status.void_reason else ""
            well.append(f"slot {slot} uses {', '.join(sorted(status.source_ages_ms))}{why}")
        for name, text in status.faults.items():
            reason, _, remedy = text.rpartition("; ")
            refused.append(_Refused(f"slot {slot}, {name}: {reason}", remedy, slot == drives and name in status.needed))
    if not refused:
        return "; ".join(well) or "no slot runs"
    remedies = ", and ".join(dict.fromkeys(each.remedy for each in refused))
    message = f"{'. '.join(each.reason for each in refused)}; {remedies}"
    raise HomeportError(message) if any(each.drives for each in refused) else Doubt(message)


def _unheard(patient: Patient, status: SlotStatus, told: frozenset[str]) -> Iterator[str]:
    """What a slot needs and has not heard for long, of which neither the supervisor tells nor the slot itself."""
    for name in sorted(status.needed - status.faults.keys() - told):
        age = status.source_ages_ms[name]
        if age is None or age > _SILENT_MS:
            yield f"{_topic(patient, name)} ({'never heard' if age is None else f'{age / 1e3:.0f} s old'})"


def _topic(patient: Patient, name: str) -> str:
    """The topic of an input that only slots hear."""
    sensors = patient.robot.sensors
    camera = sensors.cameras.get(name.removeprefix("camera_"))
    if name.startswith("camera_") and camera is not None:
        return camera.topic
    if name == "joints" and sensors.joints_source is not None:
        return sensors.joints_source.topic
    return patient.robot.topics.get(name, name)


def _status(patient: Patient, slot: str) -> SlotStatus | None:
    """What the live process of a slot says of itself."""
    status = SlotStatus.load(patient.layout.slot_status(slot))
    alive = recall(patient.layout.slot_process(slot))
    return status if status is not None and status.belongs_to(alive) else None
