"""A registry with three releases of the reference policy, made as a publisher would make them.

1.0.0, 1.1.0, and a 1.2.0 that is wrong.

1.2.0 has the weights of 1.1.0 and normalisation statistics in degrees. Its own goldens do not show it; driving does.
"""

from __future__ import annotations

import json
import marshal
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from stack.models.spoil import spoil

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "stack" / "models" / "reference"
LOCK = REPOSITORY / "requirements" / "robot.txt"
EXAMPLE = REPOSITORY / "docs" / "examples" / "release.toml"
# All robots of a testbed share this machine's cores: what they may take is not what a robot of its own may.
SHARED_P99_MS = 200.0


@dataclass(frozen=True)
class Published:
    """Where the registry is, the folder of keys, the wheel of all releases, and the digest of each version."""

    folder: Path
    keys: Path
    wheel: Path
    releases: dict[str, str]

    @property
    def key(self) -> Path:
        """The private key that signed them."""
        return next(self.keys.glob("*.key"))

    @property
    def source(self) -> str:
        return f"oci:{self.folder}"


def homeport(*arguments: str) -> str:
    """Run the publisher's command line; its result. Raises AssertionError with its error."""
    done = subprocess.run([sys.executable, "-m", "stack.cli", *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise AssertionError(f"homeport {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def recipe_text() -> str:
    """docs/examples/release.toml with the latency budget of robots that share one machine."""
    text, changed = re.subn(r"(?m)^inference_p99_ms = .*$", f"inference_p99_ms = {SHARED_P99_MS}", EXAMPLE.read_text())
    assert changed == 1, EXAMPLE
    return text


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def build_agent(path: Path) -> Path:
    """The agent as one executable file, started with this interpreter.

    It is compiled for it, beside its source: robots of a testbed start it hundreds of times.
    """
    argv = [sys.executable, "-m", "stack.agent.build", "--out", str(path)]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in [each for each in archive.namelist() if each.endswith(".py")]:
            archive.writestr(f"{name}c", compiled(archive.read(name), f"{path}/{name}"))
    return path


def compiled(source: bytes, name: str) -> bytes:
    """A .pyc that is valid whatever the time of its source; another Python than this one takes the source."""
    code = compile(source, name, "exec", dont_inherit=True)
    return MAGIC_NUMBER + (0b01).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def release(
    folder: Path,
    source: str,
    key: Path,
    wheel: Path,
    version: str,
    counter: int,
    body: str = "mobile_base",
    change: Callable[[str], str] = str,
) -> str:
    """Create and sign a release of the packed model `version`, whose recipe was changed by `change`; its digest."""
    recipe = folder / f"release-{version}.toml"
    recipe.write_text(change(recipe_text().replace('"mobile_base"', f'"{body}"')))
    given = ["--version", version, "--counter", str(counter), "--model", f"homeport/pilot:{version}"]
    given += ["--wheel", str(wheel), "--lock", str(LOCK)]
    printed = homeport(
        "release", "create", "--file", str(recipe), "--source", source, "--key", str(key), *given, "--json"
    )
    return str(json.loads(printed)["release"])


def publish(
    folder: Path,
    secret: Path,
    versions: tuple[str, ...] = ("1.0.0", "1.1.0", "1.2.0"),
    change: Callable[[str], str] = str,
) -> Published:
    """Make key, models and signed releases below `folder`; the keys go to `secret`, outside any repository."""
    homeport("keys", "generate", "--out", str(secret))
    published = Published(folder / "registry", secret, build_wheel(folder / "dist"), {})
    for counter, version in enumerate(versions, start=1):
        model = REFERENCE / f"pilot-{version}"
        if version == "1.2.0":
            model = folder / "pilot-1.2.0"
            spoil(REFERENCE / "pilot-1.1.0", model, version)
        homeport("model", "pack", str(model), "--source", published.source)
        published.releases[version] = release(
            folder, published.source, published.key, published.wheel, version, counter, change=change
        )
    return published
