"""What a publisher does for the bench: push the image, pack the models, sign releases 1.0.0 and 1.1.0 for the row
`cpu`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import docker

from model_registry.core.version import version
from tests.fakes.ros import REPOSITORY
from tests.testbed.bench import desk
from tests.testbed.registry import REFERENCE

VERSIONS = ("1.0.0", "1.1.0")
STACK = "homeport/stack"
ROW, ARCH = "cpu", "amd64"


def stack_image() -> str:
    """Build the image of this checkout, which takes seconds when nothing changed; its name."""
    done = subprocess.run(["make", "image"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode:
        raise AssertionError("make image failed; its output is above")
    return f"{STACK}:{version()}-{ROW}-{ARCH}"


def push(client: docker.DockerClient, image: str, registry: str) -> str:
    """Push to the bench's registry on this machine; the manifest digest.

    Raises AssertionError with the engine's words.
    """
    repository, _, tag = image.partition(":")
    client.images.get(image).tag(f"{registry}/{repository}", tag)
    digest = ""
    try:
        for line in client.api.push(f"{registry}/{repository}", tag, stream=True, decode=True):
            if "error" in line:
                raise AssertionError(f"{image}: cannot be pushed to {registry}: {line['error']}")
            digest = line.get("aux", {}).get("Digest", digest)
    finally:
        client.images.remove(f"{registry}/{image}")
    return str(digest)


def homeport(authority: Path, *arguments: str) -> str:
    """The publisher's command line, which trusts the bench's authority. Raises AssertionError with its error."""
    argv = [sys.executable, "-m", "stack.cli", *arguments]
    environment = {**os.environ, "HOMEPORT_CA_FILE": str(authority)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise AssertionError(f"homeport {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def release(folder: Path, authority: Path, source: str, key: Path, number: int, image: str) -> str:
    """Pack the model of a version and sign a release of it; its digest."""
    name = VERSIONS[number]
    homeport(authority, "model", "pack", str(REFERENCE / f"pilot-{name}"), "--source", source)
    recipe = folder / f"release-{name}.toml"
    recipe.write_text(desk.recipe(image, ROW, ARCH))
    given = ["--version", name, "--counter", str(number + 1), "--model", f"homeport/pilot:{name}"]
    known = ["--file", str(recipe), "--source", source, "--key", str(key), "--json"]
    return str(json.loads(homeport(authority, "release", "create", *known, *given))["release"])


def publish(folder: Path, secrets: Path, source: str, image: str) -> dict[str, str]:
    """Both releases by version, signed with a key that is made once."""
    keys = secrets / "release"
    if not keys.exists():
        homeport(secrets / "ca.crt", "keys", "generate", "--out", str(keys))
    key = next(keys.glob("*.key"))
    return {
        name: release(folder, secrets / "ca.crt", source, key, number, image) for number, name in enumerate(VERSIONS)
    }


def image_id(authority: Path, source: str, version: str) -> str:
    """The image that the release of a version pins for the bench's robots."""
    printed = homeport(authority, "release", "show", f"releases/pilot:{version}", "--source", source, "--json")
    return str(json.loads(printed)["document"]["images"][f"{ROW}/{ARCH}"]["config_digest"])
