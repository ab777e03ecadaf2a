"""README's first steps, typed literally on fresh Debian 12 and 13, as root and as an ordinary user.

Each of the four systems is a container with git, make and Python, and a clone of this checkout's last commit. A block
is one of README's commands with all that README promises of it: its exit code, what it prints, and what is there then.
Once each it is shown that robots which are kept can be ended again, and that an environment whose making was killed is
made anew. In the quick mode `make test` runs one folder of tests, with FULL=1 all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker

from tests.bench.harness import FULL, ROOT, Trials
from tests.fakes.ros import wait_until
from tests.testbed.engine import find_engine
from tests.testbed.newcomer import DEBIAN, USER, System, Typed, remove_left
from tests.testbed.readme import commands

QUICK_TESTS = "tests/unit/cli"
SYSTEMS = tuple((suite, account) for suite in DEBIAN for account in ("root", USER))
KEEPS = ("bookworm", USER)
"""Where the demo's robots are kept and ended."""
INTERRUPTS = ("trixie", USER)
"""Where the first making of the environment is killed."""
MISSING = re.compile(r"missing Debian packages: run '([^']+)', then this again")
SIZE = re.compile(r"about (\d+) MB on disk")
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
PROMISED = re.compile(r"environment in `\.venv` first: about (\d+) MB")
KILL_AFTER_PACKAGES = 20


@dataclass(frozen=True)
class Promise:
    """What README, or the command's own help, promises of a command that begins in this way."""

    begins: str
    prints: tuple[str, ...] = ()
    """Patterns that are found in this order."""
    makes: tuple[str, ...] = ()
    """Files, as the shell finds them from the checkout."""
    deadline_s: int = 600


# The first that fits is taken.
PROMISES = (
    Promise(
        "make demo KEEP=1",
        prints=(r"This machine: ", r"make demo-down"),
        makes=("build/demo/running.json", "build/demo/report.html"),
        deadline_s=1200,
    ),
    Promise("make demo-down"),
    Promise(
        "make demo",
        prints=(
            r"This machine: .* The demo needs .* and about \d+ minutes",
            r"Deploying 1\.0\.0",
            r"Deploying 1\.1\.0 while they drive",
            r"changed policy while moving: 0 missed ticks",
            r"Caught by ",
            r"All robots drive 1\.0\.0 again after .*; 0 bytes were fetched",
            r"The page of this run: .*build/demo/report\.html",
        ),
        makes=("build/demo/report.html",),
        deadline_s=1500,
    ),
    Promise("make test", prints=(r"\d+ passed",), deadline_s=7200 if FULL else 900),
    Promise("make dist", makes=("build/dist/*.whl", "build/dist/homeport-agent")),
    Promise(
        ".venv/bin/homeport init fleet",
        makes=(
            "~/fleet/hosts.yml",
            "~/fleet/group_vars/robots.yml",
            "~/fleet/release.toml",
            "~/fleet/keys/release.key",
        ),
    ),
    Promise(".venv/bin/homeport model pack", makes=("~/registry/index.json",)),
    Promise(".venv/bin/homeport release create"),
    Promise("make help", prints=(r"make demo ", r"make test ", r"make deploy ")),
)
# Shown with robots by tests/e2e, or measured by the benches themselves.
NEED_ROBOTS = ("make bootstrap", "make deploy", "ssh ", "make status", "make rollback", "make fleet-", "make bench")


@dataclass(frozen=True)
class Block:
    """One of README's commands on one system. `failed` is empty, or says why with the last lines that were printed."""

    line: str
    minutes: float
    failed: str


def promise_of(line: str) -> Promise:
    """What is promised of a command of README. Raises AssertionError for one that nobody has told this bench about."""
    found = next((promise for promise in PROMISES if line.startswith(promise.begins)), None)
    assert found is not None, f"README says '{line}', and tests/bench/newcomer.py does not know what that promises"
    return found


def lines_of(readme: str) -> list[str]:
    """README's commands that need no robot, each once."""
    lines = dict.fromkeys(command.line for command in commands(readme))
    return [line for line in lines if not line.startswith(NEED_ROBOTS)]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def broken(system: System, promise: Promise, done: Typed) -> str:
    """What was promised and did not come true; empty when all did."""
    if done.code:
        return f"ended with {done.code}"
    position = 0
    for pattern in promise.prints:
        found = re.compile(pattern).search(done.text, position)
        if found is None:
            return f"did not print '{pattern}'"
        position = found.end()
    for path in promise.makes:
        if system.type(f"ls -d {path}", 60).code:
            return f"did not make {path}"
    if promise.begins.endswith("release create") and not DIGEST.match(done.text.rstrip().splitlines()[-1]):
        return "did not print the release's digest last"
    return ""


def block(system: System, line: str, typed: str | None = None) -> Block:
    """Type a command of README, and compare what comes of it with what is promised."""
    promise = promise_of(line)
    done = system.type(typed or line, promise.deadline_s)
    return told(system, line, done, broken(system, promise, done))


def told(system: System, line: str, done: Typed, why: str) -> Block:
    """Keep what came of a command, and say it at once."""
    say(f"{system.name}: {line}: {why or 'as promised'} ({done.seconds:.0f} s)")
    return Block(line, round(done.seconds / 60, 1), f"{why}\n{done.last}" if why else "")


def first_steps(system: System, line: str, readme: str) -> Iterator[Block]:
    """Type README's first command until it does what it promises; it makes the environment first.

    What is missing, how large the environment is and how long it takes are said before anything is installed, and the
    environment is as large.
    """
    promise = promise_of(line)
    done = system.type(line, promise.deadline_s)
    if system.account == "root":
        before, _, _ = done.text.partition("Making .venv")
        yield told(system, "packages are named", done, "" if "Installing Debian packages: " in before else "not named")
    else:
        wanted = MISSING.search(done.text)
        yield told(system, "packages are named", done, "" if done.code and wanted else "not named, or went on")
        if wanted is not None:
            installed = system.type(wanted[1], 600)
            why = "ended with an error" if installed.code else ""
            yield told(system, "the command for the packages", installed, why)
        if (system.suite, system.account) == INTERRUPTS:
            yield interrupted(system, line)
        done = system.type(line, promise.deadline_s)
    yield told(system, "the environment", done, wrong_size(system, done, readme))
    yield told(system, line, done, broken(system, promise, done))


def wrong_size(system: System, done: Typed, readme: str) -> str:
    """Whether there is an environment, and its size is the one that README and the program tell, to a tenth."""
    promised = PROMISED.search(readme)
    printed = SIZE.search(done.text)
    if promised is None or printed is None or promised[1] != printed[1]:
        return f"README and bootstrap.sh do not tell the same size: {promised} and {printed}"
    found = system.type("ls .venv/.ready >&2 && du -sm --apparent-size .venv | cut -f 1", 60)
    if found.code:
        return "was not made"
    real = int(found.text.split()[-1])
    return "" if abs(real - int(printed[1])) * 10 <= int(printed[1]) else f"is {real} MB large, not {printed[1]}"


def interrupted(system: System, line: str) -> Block:
    """Kill the making of an environment at once, while packages are fetched; nothing says then that it is finished."""
    count = "grep -cE '^(Collecting|Processing) ' .venv/pip.log 2>/dev/null || true"
    number = system.begin(line)

    def well_begun() -> bool:
        return int(system.type(count, 60).text or 0) >= KILL_AFTER_PACKAGES

    why = ""
    try:
        wait_until(well_begun, 600.0, f"{KILL_AFTER_PACKAGES} packages to be fetched")
        system.kill(number)
    except AssertionError as error:
        why = str(error)
    left = system.type("ls -d .venv/.homeport .venv/pip.log && ! ls .venv/.ready", 60)
    return told(system, "kill -9 while the environment is made", left, why or ("is finished" if left.code else ""))


def visit(client: docker.DockerClient, suite: str, account: str, bundle: Path) -> list[dict[str, Any]]:
    """All blocks on one fresh system."""
    system = System(client, suite, account, os.environ)
    try:
        system.start(say)
        system.receive(bundle)
        readme = system.type("cat README.md", 60).text
        first, *others = lines_of(readme)
        blocks = list(first_steps(system, first, readme))
        for line in others:
            if line in ("make demo KEEP=1", "make demo-down") and (suite, account) != KEEPS:
                continue
            quick = line == "make test" and not FULL
            blocks.append(block(system, line, f"make test TESTS={QUICK_TESTS}" if quick else None))
        return [asdict(each) for each in blocks]
    finally:
        system.remove()


def bundled(folder: Path) -> Path:
    """The last commit of this checkout, as a file that git clones from."""
    path = folder / "homeport.bundle"
    argv = ["git", "bundle", "create", "--quiet", str(path), "HEAD"]
    subprocess.run(argv, cwd=ROOT, check=True, timeout=120)
    return path


def figures(visits: dict[str, list[dict[str, Any]]]) -> dict[str, object]:
    """What the closing line has."""
    blocks = [(name, each) for name, found in visits.items() for each in found]
    failed = [f"{name}: {each['line']}: {each['failed']}" for name, each in blocks if each["failed"]]
    return {
        "systems": len(visits),
        "blocks": len(blocks),
        "passed": len(blocks) - len(failed),
        "failed": failed,
        "tests": "all" if FULL else QUICK_TESTS,
        "minutes": {name: {each["line"]: each["minutes"] for each in found} for name, found in visits.items()},
    }


def main() -> int:
    trials = Trials("newcomer")
    engine = find_engine(say=say)
    visits: dict[str, list[dict[str, Any]]] = {}
    try:
        remove_left(engine.client)
        with tempfile.TemporaryDirectory() as folder:
            bundle = bundled(Path(folder))
            for suite, account in SYSTEMS:
                name = System(engine.client, suite, account, {}).name
                if not trials.done(name):
                    trials.keep(name, visit(engine.client, suite, account, bundle))
                visits[name] = trials.kept(name)[0]
    finally:
        engine.close()
    trials.keep("noise", [])  # nothing here is measured in milliseconds
    found = figures(visits)
    trials.report(found, {})
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
