"""The command lines of our containers, what they need of Docker, and how their processes are found.

All functions here are without side effects.
"""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.layout import Layout
from model_registry.core.release import Release
from stack.agent.machine.processes import ProcessId, boot_id, proc_stat
from stack.agent.runtime import PolicyEndedError
from stack.agent.settings.config import Config

USER = 10001
TOOL = "homeport-tool"
STATE_OF_UNIT = "ActiveState,ExecMainStatus"
_OF_DOCKER = ("0", "125", "126", "127")
"""What `docker run` ends with where it did not run what it should, or was told to end."""
PINS = "homeport/pin"
PIN_LABEL = "dev.homeport.pin"
_ENGINE = (20, 10)
_CDI_ENGINE = (25, 0)
_FOREIGN_IDS = {"name=userns": "userns-remap is on", "name=rootless": "its engine is rootless"}
_HARDENED = (
    *("--rm", "--pull", "never", "--network", "host", "--log-driver", "none", "--user", f"{USER}:{USER}"),
    *("--read-only", "--tmpfs", "/tmp", "--pids-limit", "512", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


def run_argv(
    name: str, image: str, environment: Mapping[str, str], read: Iterable[Path], write: Iterable[Path], *options: str
) -> tuple[str, ...]:
    """The part that all our containers share: mounts at their own paths, environment, and no other rights."""
    variables = (item for key, value in environment.items() for item in ("--env", f"{key}={value}"))
    ways = ((read, ",readonly"), (write, ""))
    binds = (f"type=bind,source={path},target={path}{way}" for paths, way in ways for path in paths)
    mounts = (item for bind in binds for item in ("--mount", bind))
    return ("docker", "run", *_HARDENED, "--name", name, *options, *variables, *mounts, image)


def gpu_options(gpu: str) -> tuple[str, ...]:
    """How an NVIDIA GPU comes in, and the groups that own its devices."""
    if gpu == "none":
        return ()
    groups = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    joined = (item for name in ("video", "render") if name in groups for item in ("--group-add", str(groups[name])))
    if gpu == "cdi":
        return ("--device", "nvidia.com/gpu=all", *joined)
    return ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all", *joined)


def weight_options(weight: int | None) -> tuple[str, ...]:
    """A container's weight on the processor, of which others have 100.

    Docker wants shares, which runc turns into a weight again (version 2 of control groups); with version 1 and newer
    runc the same shares weigh more.
    """
    return () if weight is None else ("--cpu-shares", str(2 + (weight - 1) * 262_142 // 9_999))


def slot_argv(layout: Layout, config: Config, release: Release, slot: str, image: str) -> tuple[str, ...]:
    """A release in a slot. It sees its own release, model and engine, and writes its status."""
    folder = layout.release(release.digest)
    links = (folder.model.resolve(), folder.engine.resolve())
    read = (layout.root / "slots", folder.path, *links, layout.robot_toml, layout.dds_profile, *_machine(layout))
    environment = {**_environment(config, release), "HOMEPORT_SLOT": slot}
    write = (layout.slot_status(slot).parent,)
    options = (*weight_options(config.slot_weight), *gpu_options(config.gpu))
    argv = run_argv(container(slot), image, environment, read, write, *options)
    return (*argv, "stack.policy", "--slot", slot, *layout.options)


def access(layout: Layout) -> dict[str, str]:
    """What leads a tool to a registry: the files of its authority and of the site's login, where they are. No secret is
    in it: variables are seen by whoever may ask Docker.
    """
    known = {"SSL_CERT_FILE": layout.registry_ca, "DOCKER_CONFIG": layout.docker_config}
    return {name: str(path) for name, path in known.items() if path.exists()}


def tool_argv(layout: Layout, config: Config, release: Release, image: str) -> tuple[str, ...]:
    """A tool of a release.

    The root is one mount, because a rename does not cross two; what root owns in it stays unwritable.
    """
    trust, read = _trust(layout)
    environment = {**_environment(config, release), **trust, **config.fetch.environment}
    options = ("--no-healthcheck", "--cpu-shares", "128", *gpu_options(config.gpu))
    return run_argv(TOOL, image, environment, (layout.robot_toml, *_machine(layout), *read), (layout.root,), *options)


def device_argv(layout: Layout, config: Config, image: str) -> tuple[str, ...]:
    """A tool of the device's own image, before a release is here."""
    trust, read = _trust(layout)
    environment = {**trust, **config.fetch.environment}
    return run_argv(TOOL, image, environment, read, (layout.ingest,), "--no-healthcheck")


def _machine(layout: Layout) -> tuple[Path, ...]:
    """A Jetson's release and power mode, which are in the engine key.

    Who builds and who runs must see the same ones.
    """
    known = (Path(os.path.normpath(path)) for path in (layout.tegra_release, layout.power_mode))
    return tuple(path for path in known if path.exists())


def _trust(layout: Layout) -> tuple[dict[str, str], tuple[Path, ...]]:
    environment = access(layout)
    return environment, tuple(Path(path) for path in environment.values())


def _environment(config: Config, release: Release) -> dict[str, str]:
    fixed = {"HOMEPORT_RELEASE": str(release.digest), "ROS_DOMAIN_ID": str(config.domain_id)}
    return {**fixed, **config.environment}


def pin(image: Digest) -> str:
    """Our own name of an image, by what releases call it.

    `docker image prune` takes no image that has a name, and an archive brings the name back.
    """
    return f"{PINS}:{image.hex}"


def container(slot: str) -> str:
    return f"homeport-slot-{slot}"


def unit(slot: str) -> str:
    return f"homeport-slot@{slot}.service"


def check_engine(info: Reader, gpu: str) -> None:
    """Whether `docker info` tells of an engine that can do what is asked of it.

    Raises IncompatibleError with the fix.
    """
    text = info.text("ServerVersion") if info.has("ServerVersion") else ""
    if not (found := re.match(r"(\d+)\.(\d+)", text)):
        raise IncompatibleError("docker: its daemon does not answer; start it (systemctl start docker)")
    version = (int(found[1]), int(found[2]))
    if version < _ENGINE:
        raise IncompatibleError(f"docker: engine {text} is too old, 20.10 is the oldest; apply the role `device`")
    kinds = {part for option in _security(info) for part in option.split(",")}
    for kind, setting in _FOREIGN_IDS.items():
        if kind in kinds:
            raise IncompatibleError(
                f"docker: {setting}, and then slots and supervisor have other ids than their files and sockets; use "
                "an engine without it"
            )
    if gpu == "runtime" and "nvidia" not in info.mapping("Runtimes"):
        raise IncompatibleError(
            'gpu = "runtime": Docker has no runtime nvidia; install nvidia-container-toolkit and run `nvidia-ctk '
            "runtime configure`"
        )
    if gpu != "cdi":
        return
    folders = [Path(each) for each in info.texts("CDISpecDirs")] if info.has("CDISpecDirs") else []
    if version < _CDI_ENGINE or not folders:
        raise IncompatibleError(
            f'gpu = "cdi": not on in Docker {text}; use 28.3 or newer, or 25 with {{"features": {{"cdi": true}}}} in '
            "daemon.json"
        )
    if not any(path.suffix in (".yaml", ".json") for folder in folders for path in folder.glob("*")):
        where = " or ".join(str(folder) for folder in folders)
        raise IncompatibleError(f'gpu = "cdi": no specification in {where}; run `nvidia-ctk cdi generate`')


def _security(info: Reader) -> tuple[str, ...]:
    return info.texts("SecurityOptions") if info.has("SecurityOptions") else ()


def policy_of(init: int) -> tuple[ProcessId, int] | None:
    """The first child of a container's first process: what it calls itself, and its pid here."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    children = [(int(stat[19]), pid) for pid in pids if (stat := proc_stat(pid)) is not None and stat[1] == str(init)]
    for ticks, pid in sorted(children):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:"):
                    return ProcessId(int(line.split()[-1]), ticks, boot_id()), pid
    return None


def check_starts(slot: str, shown: str, late: bool, log_tail: Callable[[], list[str]]) -> None:
    """Raises for a slot in which no policy was seen yet, where none will be: `shown` is STATE_OF_UNIT of its unit.

    PolicyEndedError where the policy ran and ended by itself; HomeportError where Docker did not run it, or it is late.
    """
    properties = dict(line.partition("=")[::2] for line in shown.split())
    state = properties["ActiveState"]
    if state not in ("failed", "inactive") and not late:
        return
    last = (log_tail() or ["it wrote nothing"])[0]
    if state == "failed" and properties["ExecMainStatus"] not in _OF_DOCKER:
        raise PolicyEndedError(f"slot {slot}: the policy ended as soon as it had started: {last}")
    raise HomeportError(f"slot {slot}: {unit(slot)} is {state} and no policy runs: {last}")
