"""What this host can do, as one JSON document.

The role `device` runs it with the host's own python3 and judges it (vars/main.yml, device_checks).
"""

from __future__ import annotations

import grp
import importlib.util
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

CAP_SYS_NICE, CAP_SYS_RESOURCE = 23, 24
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
TEGRA_RELEASE = Path("/etc/nv_tegra_release")
LABEL = "dev.homeport.config"
AGENT = "/usr/local/bin/homeport-agent"


def docker(*arguments: str) -> list[str]:
    """Lines that docker prints, none where it fails or is not there."""
    if not shutil.which("docker"):
        return []
    done = subprocess.run(("docker", *arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().splitlines() if done.returncode == 0 else []


def accounts(number: int) -> list[str | None]:
    """Names of the user and of the group with this id, None where it is free."""
    users = {user.pw_uid: user.pw_name for user in pwd.getpwall()}
    groups = {group.gr_gid: group.gr_name for group in grp.getgrall()}
    return [users.get(number), groups.get(number)]


def account(name: str) -> dict[str, str] | None:
    """Home and shell of an account, None where there is none of this name."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return {"home": found.pw_dir, "shell": found.pw_shell}


def l4t() -> str:
    """The L4T release of a Jetson, such as 36.4.3; empty elsewhere, `unknown` where it cannot be read."""
    if not TEGRA_RELEASE.exists():
        return ""
    found = re.match(r"# R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", TEGRA_RELEASE.read_text())
    return ".".join(found.groups()) if found else "unknown"


def deployment() -> str | None:
    """The change of a release that goes on; None where there is none, or no agent that could tell."""
    try:
        done = subprocess.run(
            [AGENT, "--json", "status"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        )
        found = json.loads(done.stdout)["result"]["deployment"]
    except (OSError, ValueError, LookupError, TypeError, subprocess.TimeoutExpired):
        return None
    return None if found is None else str(found)


def capable(number: int) -> bool:
    """Whether root of this host, and so Docker, has a capability: a robot that is itself a container may lack some."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> number & 1)


def carried() -> list[str]:
    """The fingerprints that supervisor and monitor carry as plain processes, in their environment."""
    found = []
    for unit in ("homeport-supervisor", "homeport-monitor"):
        done = subprocess.run(
            ("systemctl", "show", "--property=MainPID", "--value", unit),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        environment = Path("/proc", done.stdout.decode().strip() or "0", "environ")
        if environment.exists():
            lines = environment.read_bytes().decode(errors="replace").split("\0")
            found += [line.partition("=")[2] for line in lines if line.startswith("HOMEPORT_FINGERPRINT=")]
    return found


info = json.loads("".join(docker("info", "--format", "{{json .}}")) or "{}")
host = {
    "python": ".".join(str(part) for part in sys.version_info[:2]),
    "openssl": Path("/usr/bin/openssl").exists(),
    "machine": os.uname().machine,
    "venv": importlib.util.find_spec("ensurepip") is not None,
    "systemd": Path("/run/systemd/system").is_dir(),
    "docker": info.get("ServerVersion") or "",
    "docker_client": Path("/usr/bin/docker").exists(),
    "docker_security": [part for option in info.get("SecurityOptions") or () for part in option.split(",")],
    "docker_runtimes": sorted(info.get("Runtimes") or {}),
    "cdi": [str(path) for folder in info.get("CDISpecDirs") or () for path in Path(folder).glob("*.[jy]*")],
    "ids": {number: accounts(number) for number in (10001, 10002)},
    "account": account("homeport"),
    "rmem_max": int(RMEM_MAX.read_text()) if RMEM_MAX.exists() else None,
    "rmem_writable": os.access(RMEM_MAX, os.W_OK),
    "l4t": l4t(),
    "realtime": capable(CAP_SYS_RESOURCE),
    "nice": capable(CAP_SYS_NICE),
    "image": bool(docker("image", "inspect", "--format", "{{.Id}}", *sys.argv[1:])),
    "deployment": deployment(),
    "fingerprints": docker("ps", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}') + carried(),
}
sys.stdout.write(json.dumps(host) + "\n")
