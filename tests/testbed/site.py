"""How this machine reaches package registries, for a system made here that has to reach them too.

A site sets up every machine of its own in the same way: proxies, certificates, and where pip and apt look. This project
knows nothing of it; it is read from this machine's environment and files.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLES = re.compile(r"(?i)^(https?_proxy|no_proxy|all_proxy|pip_.*|uv_.*|ssl_cert_file|requests_ca_bundle)$")
CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where a site puts its own authorities on Debian; `update-ca-certificates` takes them up."""
MADE_THERE = ("/etc/ssl/", "/usr/share/ca-certificates/")
"""Files that every Debian makes for itself."""
OPTION = re.compile(r"^(\w[\w-]*)\.([\w-]+)=(.*)$")
APT_OPTION = re.compile(r"^Acquire::(https?::|Retries|Check-Valid-Until|Check-Date)")


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell programs of the way to registries."""
    return {name: value for name, value in own.items() if VARIABLES.match(name)}


def files(own: Mapping[str, str]) -> dict[str, bytes]:
    """Path → content of what such a system has: certificates, and the settings of pip and apt."""
    found = {str(path): path.read_bytes() for path in sorted(CERTIFICATES.glob("**/*.crt"))}
    if options := pip_options():
        found["/etc/pip.conf"] = _pip_file(options).encode()
    if lines := [*_apt_options(), *_apt_proxies(own)]:
        found["/etc/apt/apt.conf.d/90site"] = "".join(f"{line}\n" for line in lines).encode()
    return found


def folders(own: Mapping[str, str]) -> list[str]:
    """Files and folders of this machine that these settings name, such as a folder of wheels."""
    values = [value for _, _, value in pip_options()]
    values += environment(own).values()
    words = [word for value in values for word in value.split()]
    # What an index names lies beside it.
    indexes = [str(Path(word.removeprefix("file://")).parent) for word in words if word.startswith("file:///")]
    local = {word for word in words if word.startswith("/") and not word.startswith(MADE_THERE)}
    return sorted(word for word in {*local, *indexes} if word != "/" and Path(word).exists())


def mirror() -> str | None:
    """Where this machine takes Debian's packages from; None where it does not say."""
    argv = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    labelled = [line.partition(" ") for line in _printed(argv).splitlines()]
    return next((address for label, _, address in labelled if label == "Debian"), None)


def pip_options() -> list[tuple[str, str, str]]:
    """Section, key and value of all that pip's files say here."""
    found = []
    for line in _printed([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        option = OPTION.match(line)
        if option is not None:
            value = str(ast.literal_eval(option[3]))
            found.append((option[1], option[2], " ".join(value.split())))
    return found


def _pip_file(options: list[tuple[str, str, str]]) -> str:
    sections: dict[str, list[str]] = {}
    for part, key, value in options:
        sections.setdefault(part, [f"[{part}]"]).append(f"{key} = {value}")
    return "".join(f"{line}\n" for lines in sections.values() for line in lines)


def _apt_options() -> Iterator[str]:
    for line in _printed(["apt-config", "dump", "Acquire"]).splitlines():
        if APT_OPTION.match(line) and not line.endswith(' "";'):
            yield line


def _apt_proxies(own: Mapping[str, str]) -> Iterator[str]:
    """sudo drops variables, so apt gets them from a file."""
    for name in ("http_proxy", "https_proxy"):
        value = own.get(name) or own.get(name.upper())
        if value:
            yield f'Acquire::{name.partition("_")[0]}::Proxy "{value}";'


def _printed(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError:
        return ""
