"""The containers of a bench: network, registry and robots.

All are labelled with the bench's name and checkout, so that they are found and removed again.

What has such a name and another label is somebody else's: it is neither used nor removed, and the bench is refused.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from tests.fakes.ros import REPOSITORY
from tests.testbed.bench.secrets import REGISTRY_HOST

LABEL = "dev.homeport.bench"
CHECKOUT = "dev.homeport.checkout"
REGISTRY_PORT = 5000
REGISTRY_CONFIG = f"""
version: 0.1
log: {{level: warn, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}, delete: {{enabled: true}}}}
http: {{addr: ":{REGISTRY_PORT}", tls: {{certificate: /etc/bench/registry.crt, key: /etc/bench/registry.key}}}}
"""
# What systemd and an engine inside a container need. --privileged asks for more than every kernel here can give.
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYSLOG", "SYS_NICE"]
# Without a group of their own, all robots together count as one process of this machine, and their control loops starve
# beside Ansible.
CGROUPS = Path("/sys/fs/cgroup")
CPU_SHARES = 20_480
# systemd of Debian 13 starts on a machine with control groups of the old kind only when it is told so.
LEGACY_CGROUPS = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
SSHD = "PasswordAuthentication no\nUseDNS no\n"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on; it stays the container's when that is stopped and started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def put(container: Container, files: Mapping[str, tuple[bytes, int, int]]) -> None:
    """Write files (path → content, mode, uid) into a container, running or not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (content, mode, uid) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, uid, uid
            archive.addfile(entry, io.BytesIO(content))
    container.put_archive("/", buffer.getvalue())


def labels(bench: str, checkout: str = str(REPOSITORY)) -> dict[str, str]:
    """What everything of a checkout's bench is labelled with."""
    return {LABEL: bench, CHECKOUT: checkout}


def wanted(bench: str, checkout: str = str(REPOSITORY)) -> dict[str, list[str]]:
    """The filter that finds it."""
    return {"label": [f"{key}={value}" for key, value in labels(bench, checkout).items()]}


def check_own(kind: str, name: str, found: Mapping[str, str] | None, bench: str) -> None:
    """Raises AssertionError for what has our name and is not this bench's."""
    if not labels(bench).items() <= (found or {}).items():
        owner = (found or {}).get(CHECKOUT)
        fix = f"run make fleet-down in {owner}" if owner else "rename it, or remove it yourself"
        raise AssertionError(f"the {kind} {name} is there and not of this bench: {fix}, then make fleet-up again")


def network(client: docker.DockerClient, bench: str, internal: bool = False) -> None:
    """The bench's own network; an internal one leads nowhere but to this machine."""
    with contextlib.suppress(NotFound):
        check_own("network", bench, client.networks.get(bench).attrs["Labels"], bench)
        return
    client.networks.create(bench, driver="bridge", labels=labels(bench), check_duplicate=True, internal=internal)


def existing(client: docker.DockerClient, bench: str, name: str) -> Container | None:
    """The bench's container of this name, running; None when there is none."""
    try:
        container = client.containers.get(name)
    except NotFound:
        return None
    check_own("container", name, container.labels, bench)
    container.start()
    container.reload()
    return container


def published_port(container: Container, inside: int) -> int:
    """The port of 127.0.0.1 that leads to a port of the container."""
    return int(container.attrs["HostConfig"]["PortBindings"][f"{inside}/tcp"][0]["HostPort"])


def registry(client: docker.DockerClient, bench: str, image: str, secrets: Path) -> Container:
    """Debian's registry over TLS, known to the robots as registry.bench:5000; stdout is its access log."""
    name = f"{bench}-registry"
    if (found := existing(client, bench, name)) is not None:
        return found
    volume(client, bench, name)
    container = client.containers.create(
        image,
        ["docker-registry", "serve", "/etc/bench/registry.yml"],
        name=name,
        labels=labels(bench),
        stop_signal="SIGTERM",
        network=bench,
        networking_config={bench: client.api.create_endpoint_config(aliases=[REGISTRY_HOST])},
        ports={f"{REGISTRY_PORT}/tcp": ("127.0.0.1", free_port())},
        volumes={name: {"bind": "/var/lib/docker-registry"}},
    )
    files = {"/etc/bench/registry.yml": (REGISTRY_CONFIG.encode(), 0o644, 0)}
    for part in ("registry.crt", "registry.key"):
        files[f"/etc/bench/{part}"] = ((secrets / part).read_bytes(), 0o600, 0)
    put(container, files)
    container.start()
    return container


def robot(client: docker.DockerClient, bench: str, name: str, image: str, secrets: Path) -> Container:
    """A container that is a robot: systemd, sshd and an engine of its own; its ssh is a port of 127.0.0.1."""
    full = f"{bench}-{name}"
    if (found := existing(client, bench, full)) is not None:
        return found
    group = _group(client, bench)
    daemon = {"storage-driver": "overlay2", "log-driver": "local", **({"cgroup-parent": group} if group else {})}
    volumes = {}
    for part in ("docker", "containerd"):
        volume(client, bench, f"{full}-{part}")
        volumes[f"{full}-{part}"] = {"bind": f"/var/lib/{part}", "mode": "rw"}
    container = _create(client, bench, name, image, volumes, {"22/tcp": ("127.0.0.1", free_port())}, {})
    put(container, {"/etc/docker/daemon.json": (json.dumps(daemon).encode(), 0o644, 0)})
    _switch_on(container, bench, secrets, login="homeport")
    return container


def plain_robot(
    client: docker.DockerClient, bench: str, name: str, image: str, secrets: Path, login: str, shared: Path
) -> Container:
    """A robot without an engine, in a network that leads nowhere, which sees the folder `shared` at the same path."""
    volumes = {str(shared): {"bind": str(shared), "mode": "ro"}}
    container = _create(client, bench, name, image, volumes, {}, {"SYSTEMD_PROC_CMDLINE": LEGACY_CGROUPS})
    _switch_on(container, bench, secrets, login)
    return container


def _group(client: docker.DockerClient, bench: str) -> str | None:
    """The control group of all robots of a bench, where Docker can give them one."""
    return f"/{bench}" if client.info()["CgroupDriver"] == "cgroupfs" else None


def _create(
    client: docker.DockerClient,
    bench: str,
    name: str,
    image: str,
    volumes: Mapping[str, Mapping[str, str]],
    ports: Mapping[str, tuple[str, int]],
    environment: Mapping[str, str],
) -> Container:
    """A container that systemd can run in, not yet started."""
    return client.containers.create(
        image,
        name=f"{bench}-{name}",
        hostname=name,
        labels=labels(bench),
        stop_signal="SIGRTMIN+3",
        environment={"container": "docker", **environment},
        cap_add=CAPABILITIES,
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="host",
        cgroup_parent=_group(client, bench),
        device_cgroup_rules=["a *:* rwm"],
        tmpfs={"/run": "exec,mode=755", "/run/lock": "", "/tmp": "exec,mode=1777"},
        shm_size="512m",
        network=bench,
        ports=dict(ports),
        volumes={str(CGROUPS): {"bind": str(CGROUPS), "mode": "rw"}, **volumes},
    )


def _switch_on(container: Container, bench: str, secrets: Path, login: str) -> None:
    """Give it its ssh keys and start it."""
    put(
        container,
        {
            "/etc/ssh/ssh_host_ed25519_key": ((secrets / "host").read_bytes(), 0o600, 0),
            "/etc/ssh/sshd_config.d/bench.conf": (f"{SSHD}AllowUsers {login}\n".encode(), 0o644, 0),
            f"/home/{login}/.ssh/authorized_keys": ((secrets / "operator.pub").read_bytes(), 0o600, 1000),
        },
    )
    container.start()
    if (shares := CGROUPS / "cpu" / bench / "cpu.shares").exists() and os.access(shares, os.W_OK):
        shares.write_text(str(CPU_SHARES))


def volume(client: docker.DockerClient, bench: str, name: str) -> None:
    with contextlib.suppress(NotFound):
        check_own("volume", name, client.volumes.get(name).attrs["Labels"], bench)
        return
    client.volumes.create(name, labels=labels(bench))


def leftovers(client: docker.DockerClient, bench: str, checkout: str = str(REPOSITORY)) -> list[str]:
    """Names of everything on the engine that belongs to this bench."""
    found = wanted(bench, checkout)
    containers = [each.name or "" for each in client.containers.list(all=True, filters=found)]
    volumes = [each.name for each in client.volumes.list(filters=found)]
    networks = [each.name or "" for each in client.networks.list(filters=found)]
    return [*containers, *volumes, *networks]


def retire(client: docker.DockerClient, bench: str, keep: Iterable[str], checkout: str = str(REPOSITORY)) -> None:
    """Remove the robots of this bench that are not to be kept, with their volumes."""
    found = wanted(bench, checkout)
    kept = {f"{bench}-{name}" for name in keep}
    gone = [each for each in client.containers.list(all=True, filters=found) if each.name not in kept]
    with ThreadPoolExecutor(max(1, len(gone))) as pool:  # the engine takes seconds for a whole system
        list(pool.map(lambda container: container.remove(force=True, v=True), gone))
    for each in client.volumes.list(filters=found):
        if not any(each.name == name or each.name.startswith(f"{name}-") for name in kept):
            each.remove(force=True)


def remove(client: docker.DockerClient, bench: str, checkout: str = str(REPOSITORY)) -> None:
    """Remove containers, volumes and network of this bench. Raises AssertionError naming what would not go."""
    retire(client, bench, (), checkout)
    for link in client.networks.list(filters=wanted(bench, checkout)):
        link.remove()
    for group in CGROUPS.glob(f"*/{bench}"):  # which Docker makes and leaves
        for folder in (*(path for path in group.iterdir() if path.is_dir()), group):
            with contextlib.suppress(OSError):
                folder.rmdir()
    if left := leftovers(client, bench, checkout):
        raise AssertionError(f"could not remove {', '.join(left)}")


def remove_forsaken(client: docker.DockerClient, bench: str, say: Callable[[str], None]) -> None:
    """Remove what checkouts that are gone have left under this bench's name, where nothing of it runs.

    What runs may belong to a checkout that only cannot be seen from here.
    """
    label = {"label": f"{LABEL}={bench}"}
    robots = client.containers.list(all=True, filters=label)
    others = [*client.volumes.list(filters=label), *client.networks.list(filters=label)]
    owners = {each.labels.get(CHECKOUT, "") for each in robots} | {
        each.attrs["Labels"].get(CHECKOUT) for each in others
    }
    running = {each.labels.get(CHECKOUT) for each in robots if each.status == "running"}
    for owner in sorted(owner for owner in owners - running if owner and not Path(owner).exists()):
        say(f"Removing what the bench of {owner}, which is gone, has left")
        remove(client, bench, owner)
