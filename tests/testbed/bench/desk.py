"""What a person needs who works with a bench: settings for the shell, a way to each robot, a release to publish.

`make fleet-up` writes them into build/bench, and docs/tutorial.md uses them:

    source build/bench/environment
    ssh -F build/bench/ssh_config alder
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.testbed.bench import containers, watch
from tests.testbed.bench.robot import Robot, ssh_settings
from tests.testbed.registry import recipe_text

ENVIRONMENT, SSH_CONFIG, RELEASE = "environment", "ssh_config", "release.toml"
FIRST, MODEL = "1.0.0", "1.1.0"
OWN_VERSION, OWN_COUNTER = "2.0.0", 3
SAY = Path(__file__).parents[1] / "say.py"
SAYING = """\
#!/bin/sh
# Say a voice command to this bench robot, as any ROS 2 program may: bench-say go to the red pillar
exec sudo docker exec -i bench-base /opt/homeport/bin/python - "$*" < /usr/local/share/bench-say.py
"""


def recipe(image: str, row: str, arch: str) -> str:
    """docs/examples/release.toml for an image of a row that every robot of the bench has."""
    head, _, _ = recipe_text().partition("[[image]]")
    head = re.sub(r"(?m)^rows = .*$", f'rows = ["{row}"]', head)
    return f'{head}[[image]]\nrow_arch = "{row}/{arch}"\nref = "{image}"\n'


def own(recipe: str) -> str:
    """The same as the next release, for a person to change."""
    changes = {
        r"^version = .*$": f'version = "{OWN_VERSION}"',
        r"^counter = \d+": f"counter = {OWN_COUNTER}",
        r'^ref = "homeport/pilot:.*$': f'ref = "homeport/pilot:{MODEL}"',
    }
    for pattern, line in changes.items():
        recipe, changed = re.subn(f"(?m){pattern}", line, recipe)
        assert changed == 1, pattern
    return recipe


def write(folder: Path, robots: Iterable[Robot], secrets: Path, source: str, releases: Mapping[str, str]) -> None:
    """Write the settings and ssh's configuration; the release.toml only where there is none yet."""
    settings = {
        "HOMEPORT_CA_FILE": secrets / "ca.crt",
        "HOMEPORT_SOURCE": source,
        "HOMEPORT_KEY": next((secrets / "release").glob("*.key")),
        "INVENTORY": folder / "inventory",
        "FIRST": releases[FIRST],
    }
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
    (folder / ENVIRONMENT).write_text("".join(["# source build/bench/environment\n", *lines]))
    (folder / SSH_CONFIG).write_text("\n".join(_host(robot, secrets) for robot in robots))
    recipe = folder / RELEASE
    if not recipe.exists():
        recipe.write_text(own((folder / f"release-{FIRST}.toml").read_text()))


def _host(robot: Robot, secrets: Path) -> str:
    settings = {
        "HostName": "127.0.0.1",
        "Port": str(robot.port),
        "User": "homeport",
        "IdentityFile": f'"{secrets / "operator"}"',
        "LogLevel": "ERROR",
        **ssh_settings(secrets),
    }
    return "\n".join([f"Host {robot.name}", *(f"    {key} {value}" for key, value in settings.items()), ""])


def give_programs(robot: Robot) -> None:
    """Install `bench-say` and `bench-watch` on a robot: what a person beside it does by mouth and by eye."""
    files = {
        "/usr/local/bin/bench-say": (SAYING.encode(), 0o755, 0),
        "/usr/local/bin/bench-watch": (Path(watch.__file__).read_bytes(), 0o755, 0),
        "/usr/local/share/bench-say.py": (SAY.read_bytes(), 0o644, 0),
    }
    containers.put(robot.container, files)
