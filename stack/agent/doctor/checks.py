"""What the doctor looks at, in the order in which a person would fix it.

Settings, host, topics, room, then what a switch needs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from model_registry.core.digest import Digest
from model_registry.core.domain import clash, ports_of
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.files import Files
from model_registry.core.layout import SLOTS, linked_release
from model_registry.core.robot import l4t_of
from stack.agent.change.cutover import available, measured_peak, room
from stack.agent.disk.store import verify_staged
from stack.agent.doctor.examine import DOCKER_S, Check, Doubt, Patient
from stack.agent.doctor.inputs import inputs, topics
from stack.agent.doctor.trust import keys, revoked
from stack.agent.machine.child import SilentError, ask
from stack.agent.machine.os_slots import read_os_slots
from stack.agent.machine.processes import recall, recall_host_pid
from stack.agent.machine.processor import processor
from stack.agent.runtime import image_of
from stack.agent.runtime.archives import Archives
from stack.agent.runtime.containers import check_engine

RMEM_MAX = 4_194_304
_LEAST_FREE, _LITTLE_FREE = 256 << 20, 4 << 30
_PROFILES = "{http://www.eprosima.com}"


def _settings(patient: Patient) -> str:
    robot, config = patient.robot, patient.config
    if (robot.row == "process") != (config.runtime == "process"):
        raise IncompatibleError(
            f"row {robot.row} cannot run with runtime {config.runtime}; set homeport_row and homeport_runtime and "
            "apply the role `device`"
        )
    return f"{robot.name} is a {robot.embodiment}, row {robot.row_arch}, runtime {config.runtime}"


def _l4t(patient: Patient) -> str:
    here, said = l4t_of(patient.layout.tegra_release), patient.robot.l4t
    if here != said:
        raise IncompatibleError(
            f"robot.toml says {said or 'no L4T'}, and here is {here or 'none'}; set homeport_l4t and homeport_row and "
            "apply the role `device`"
        )
    return here or "no Jetson"


def _system(patient: Patient) -> str:
    slots = read_os_slots(patient.layout)
    if slots is None:
        return "no Jetson"
    if slots.unsettled:
        raise IncompatibleError(f"{'. '.join(slots.unsettled)}; finish or undo its update (docs/rollback.md)")
    if slots.warnings:
        raise Doubt(f"{'. '.join(slots.warnings)}; docs/rollback.md says what to do")
    return f"system {slots.current} runs and is settled"


def _docker(patient: Patient) -> str:
    if patient.docker is None:
        return "not used"
    check_engine(patient.docker, "none")
    image = str(patient.config.device_image)
    try:
        ask("docker", "image", "inspect", "--format", "{{.Id}}", image, timeout_s=DOCKER_S)
    except SilentError:
        raise
    except HomeportError as error:
        raise IncompatibleError(f"{image}: not on this robot; apply the role `device`") from error
    return f"engine {patient.docker.text('ServerVersion')}, and the device's image is here"


def _gpu(patient: Patient) -> str:
    gpu, row = patient.config.gpu, patient.robot.row
    if patient.docker is None:
        return "slots see what this machine has"
    check_engine(patient.docker, gpu)
    if gpu == "none" and row != "cpu":
        raise IncompatibleError(
            f'gpu = "none", and releases of row {row} need one; set homeport_gpu and apply the role `device`'
        )
    return "none, as row cpu needs none" if gpu == "none" else f"Docker knows how to give it ({gpu})"


def _dds(patient: Patient) -> str:
    path = patient.layout.dds_profile
    try:
        profile = ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        raise HomeportError(f"{path}: cannot be used ({error}); apply the role `device`") from error
    kinds = {each.text for each in profile.iter(f"{_PROFILES}type")}
    builtin = {each.text for each in profile.iter(f"{_PROFILES}useBuiltinTransports")}
    if kinds != {"UDPv4"} or builtin != {"false"}:
        raise HomeportError(
            f"{path}: lets shared memory in, which loses images between accounts; apply the role `device`"
        )
    where = {each.text for each in profile.iter(f"{_PROFILES}address")}
    if where != {"127.0.0.1"}:
        named = ", ".join(sorted(map(str, where))) or "every interface"
        raise Doubt(
            f"other machines can hear and command this robot ({named}); use the role's profile unless the site wants "
            "that"
        )
    return "UDP on this machine only"


def _domain(patient: Patient) -> str:
    domain = patient.config.domain_id
    if (shared := clash(domain, patient.proc)) is not None:
        raise Doubt(f"{shared}; choose one from 0 to 101 or from 215 to 232")
    return f"ROS domain {domain}, ports {ports_of(domain)[0]} to {ports_of(domain)[-1]}"


def _buffers(patient: Patient) -> str:
    path = patient.proc / "sys/net/core/rmem_max"
    if not path.exists():
        raise Doubt("net.core.rmem_max cannot be seen here; look on the host, it has to be 4194304 or more")
    if (value := int(path.read_text())) < RMEM_MAX:
        raise HomeportError(
            f"net.core.rmem_max is {value}, and VGA images get lost; sysctl -w net.core.rmem_max={RMEM_MAX}, which "
            "the role `device` keeps"
        )
    return f"net.core.rmem_max is {value}"


def _supervisor(patient: Patient) -> str:
    status = patient.supervisor
    blocking = status.texts("blocking")
    return (
        f"version {status.text('version')}, "
        f"{status.text('state')}{f', blocked by {chr(44).join(blocking)}' if blocking else ''}"
    )


def _disk(patient: Patient) -> str:
    folders = list(patient.layout.disks)
    with suppress(HomeportError):  # a Docker that is silent has a line of its own
        if patient.docker is not None and patient.docker.has("DockerRootDir"):
            folders.append(Path(patient.docker.text("DockerRootDir")))
    free, folder = min((patient.free(each), str(each)) for each in folders)
    text = f"{folder}: {free >> 20} MiB free"
    if free < _LEAST_FREE:
        raise HomeportError(f"{text}, {_LEAST_FREE >> 20} needed to stage anything; make room")
    if free < _LITTLE_FREE:
        raise Doubt(f"{text}, which may not hold another release; make room")
    return text


def _clock(patient: Patient) -> str:
    """A robot drives with a wrong clock; its windows stay closed."""
    clock = patient.clock
    if (doubt := clock.doubt(patient.layout)) is not None:
        raise Doubt(doubt)
    return f"{clock.stands()}, synchronised"


def _copies(patient: Patient) -> str:
    """What previous and fallback come back from when their image is lost; every byte is read."""
    layout, docker = patient.layout, patient.config.runtime == "docker"
    archives, found = Archives(layout.images, Files()), dict[str, bool]()
    for name, path in (("previous", layout.previous), ("fallback", layout.fallback)):
        if (digest := linked_release(path)) is None:
            continue
        image = image_of(layout, verify_staged(layout, digest)).digest
        sidecar, copy = archives.find(image), archives.path(image) if docker else layout.images / f"{image.hex}.whl"
        found[name] = copy.exists() and (sidecar is not None or not docker)
        if found[name] and Digest.of_file(copy) != (sidecar.sha256 if sidecar else image):
            again = (
                "the agent makes it again" if docker else f"its folder site in {layout.release(digest)}, and stage it"
            )
            raise IncompatibleError(f"the copy of {name}'s image is damaged; remove {copy} and {again}")
    if missing := [name for name, here in found.items() if not here]:
        raise Doubt(
            f"no copy of the image of {' and '.join(missing)}, should Docker lose it; let the agent serve, with room "
            "on the disk"
        )
    return f"the copies of {' and '.join(found)} are whole" if found else "not needed before a release was committed"


def _memory(patient: Patient) -> str:
    """Two policies are alive while one takes over from the other; what runs already is not in what is available."""
    layout = patient.layout
    if (current := linked_release(layout.current)) is None:
        return "not known before a release was proved here and committed"
    alive = sum(recall(layout.slot_process(slot)) is not None for slot in SLOTS)
    peak = measured_peak(layout, current)
    free = room(available(patient.proc), patient.config.memory_mib, alive * (peak or 0))
    if peak is None or free is None:
        raise Doubt("not known: the proof of the committed release has no measured peak; stage it again with --retry")
    needed = max(2 - alive, 0) * peak
    text = (
        f"{needed >> 20} MiB needed so that two slots run (measured peak {peak >> 20} MiB each), {free >> 20} available"
    )
    if not alive and free < peak:
        raise HomeportError(f"{text}, too few for one; end other programs, or deploy a smaller model")
    if free < needed:
        raise Doubt(
            f"{text}, so a switch stops the old release first, under hold; end other programs, or deploy a smaller "
            "model"
        )
    return text


def _base(patient: Patient) -> str:
    return (
        f"stops {patient.robot.base_timeout_s} s after the last command, says robot.toml; docs/safety.md has how to "
        "measure it"
    )


def _footprint(patient: Patient) -> str:
    body = patient.robot.footprint
    if body is None or not patient.robot.sources["scan"].present:
        raise Doubt(
            "no scanner, so nothing keeps the robot from obstacles; set homeport_sources and homeport_footprint"
        )
    if body.round:
        return f"round, radius {body.front} m"
    return f"{body.front} m ahead, {body.rear} m behind, {body.half_width} m to each side"


def _scheduling(patient: Patient) -> str:
    ticks = patient.supervisor.child("ticks")
    late = f"{ticks.number('late_p99_ms')} ms" if ticks.has("late_p99_ms") else "not known"
    if ticks.text("scheduler") != "fifo":
        raise Doubt(
            f"the supervisor's ticks have no real-time priority (late by p99 {late}); let it have rtprio 50 (the role "
            "`device` for containers, limits.conf for processes)"
        )
    return f"real time, ticks late by p99 {late}"


def _processor(patient: Patient) -> str:
    """Which share of the processor the slots have: on a busy robot a slot without one falls silent first."""
    pids = {slot: recall_host_pid(patient.layout.slot_process(slot)) for slot in SLOTS}
    found = {slot: processor(pid) for slot, pid in pids.items() if pid is not None}
    told = [f"slot {slot} on {each}" for slot, each in found.items() if each is not None]
    return "; ".join(told) or "no slot runs"


def _agent(patient: Patient) -> str:
    status = patient.agent
    if problems := status.texts("problems"):
        raise Doubt(f"serves, and is not healthy ({'; '.join(problems)}); docs/troubleshooting.md has each")
    return f"version {status.text('agent')} serves, {status.text('stage')}"


CHECKS: dict[str, Check] = {
    "settings": _settings,
    "l4t": _l4t,
    "system": _system,
    "docker": _docker,
    "gpu": _gpu,
    "dds": _dds,
    "domain": _domain,
    "buffers": _buffers,
    "disk": _disk,
    "clock": _clock,
    "keys": keys,
    "supervisor": _supervisor,
    "scheduling": _scheduling,
    "processor": _processor,
    "topics": topics,
    "inputs": inputs,
    "base": _base,
    "footprint": _footprint,
    "memory": _memory,
    "copies": _copies,
    "revoked": revoked,
    "agent": _agent,
}
