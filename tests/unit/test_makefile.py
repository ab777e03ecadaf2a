"""Whatever a person writes behind `make TARGET NAME=`, and wherever the checkout lies: it arrives as one argument, and
no shell reads it.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.ros import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
RELEASE = f"sha256:{'0' * 64}"
FOLDER = 'it\'s a "test" & `touch hit`; $(touch hit) $HOME #1 %d'
HOSTILE = (
    "robots:&touch hit", "a, b ", "a;touch hit", "$(touch hit)", "`touch hit`", "$(shell touch hit)", "$HOME$$x",
    "it's", 'a "b"', "-x",
    "--version", "#1\\b%", "a=b", "~/*", "a\nb", "|touch hit",
)  # fmt: skip
PROGRAMS = ("python", "ansible-playbook", "ansible-lint", "uv", "ruff", "mypy", "shellcheck", "hadolint", "yamllint")
RECORD = """#!/bin/sh
call=$(mktemp "$RECORD/XXXXXXXX")
printf '%s\\0' "$0" "$@" >"$call"
env -0 >"$call.env"
"""
CHECKED = {
    "RELEASE": "deploy", "TO": "rollback", "REGISTRY": "push", "RETRY": "deploy", "CHECK": "prune", "KEEP": "demo",
    "FULL": "bench",
    "FRESH": "bench", "DOCTOR": "status",
}  # fmt: skip
"""Settings of a fixed form, each with a target that takes it: anything else is refused before a program starts."""
NEEDED = {"INVENTORY": "fleet", "RELEASE": RELEASE, "REGISTRY": "registry.example.org"}


def definitions() -> dict[str, str]:
    """Variables of the Makefile, as they are written."""
    return dict(re.findall(r"^([A-Za-z_]+) :?\??= ?(.*)$", MAKEFILE, re.MULTILINE))


def settings() -> list[str]:
    return definitions()["SETTINGS"].split()


def recipes() -> dict[str, str]:
    """Every target with its prerequisites and its recipe, in which the Makefile's own variables are written out."""
    known = definitions()
    found: dict[str, str] = {}
    for name, text in re.findall(
        r"^([a-z-]+|\$\(READY\)):([^\n]*(?:\n(?:\t|ifdef|else|endif)[^\n]*)*)", MAKEFILE, re.MULTILINE
    ):
        for _ in known:
            text = re.sub(r"\$\(([A-Z_]+)\)", lambda match: known.get(match[1], match[0]), text)
        found[name] = text
    return found


def says(text: str, name: str) -> bool:
    """Whether a recipe hands a setting on."""
    return bool(re.search(rf'"\$\${name}[/"]|homeport_[a-z]+=\$\${name}"|\$\(call option,[a-z-]+,{name}\)', text))


def users(name: str) -> list[str]:
    """Targets whose recipe hands a setting to a program."""
    found = [
        target for target, text in recipes().items() if not target.startswith(("check-", "$")) and says(text, name)
    ]
    return found or ["bench"]  # read from the environment by what `make bench` and bootstrap.sh start


@dataclass(frozen=True)
class Call:
    """A program that was started: its path, its arguments, and its environment."""

    program: str
    arguments: list[str]
    environment: dict[str, str]


class Checkout:
    """A copy of what the Makefile needs, whose programs only write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.records = folder, folder.parent / "records"
        for path in ("requirements", "images", "fleet"):
            (folder / path).mkdir(parents=True)
        shutil.copy(REPOSITORY / "Makefile", folder)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        for name in ("requirements/dev.txt", "pyproject.toml"):
            (folder / name).touch()
        for name in ("bootstrap.sh", "bench.sh"):
            self._program(folder / "requirements" / name)
        with (folder / "requirements/bootstrap.sh").open("a") as script:
            script.write('touch "$1/.ready"\n')
        self.environment(".venv")

    def environment(self, name: str) -> None:
        (self.folder / name / "bin").mkdir(parents=True, exist_ok=True)
        for program in PROGRAMS:
            self._program(self.folder / name / "bin" / program)
        (self.folder / name / ".ready").touch()

    def _program(self, path: Path) -> None:
        path.write_text(RECORD)
        path.chmod(0o755)

    def make(self, target: str, **values: str) -> tuple[subprocess.CompletedProcess[str], list[Call]]:
        shutil.rmtree(self.records, ignore_errors=True)
        self.records.mkdir()
        argv = ["make", "--no-print-directory", target, *(f"{name}={value}" for name, value in values.items())]
        plain = {
            key: value for key, value in os.environ.items() if key not in settings() and not key.startswith("MAKE")
        }
        plain |= {"RECORD": str(self.records)}
        done = subprocess.run(argv, cwd=self.folder, env=plain, capture_output=True, text=True, timeout=60)
        return done, list(self._calls())

    def _calls(self) -> Iterator[Call]:
        for path in sorted(self.records.glob("*.env")):
            program, *arguments = path.with_suffix("").read_text().split("\0")[:-1]
            pairs = (each.partition("=") for each in path.read_text().split("\0")[:-1])
            yield Call(program, arguments, {key: value for key, _, value in pairs})

    def hit(self) -> list[Path]:
        """What a shell that read a value would have made."""
        return list(self.folder.parent.rglob("hit"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("make") / "checkout")


def carriers(calls: list[Call], value: str) -> list[str]:
    """Arguments that hand the value on, alone or behind an equals sign."""
    return [each for call in calls for each in call.arguments if each == value or each.endswith(f"={value}")]


@pytest.mark.parametrize("name", [each for each in settings() if each not in (*CHECKED, "VENV")])
def test_a_setting_reaches_its_program_as_one_argument_whatever_is_in_it(name: str, checkout: Checkout) -> None:
    targets = users(name)
    for value, target in zip(HOSTILE, itertools.cycle(targets), strict=False):
        if name == "INVENTORY":
            (checkout.folder / value).mkdir(parents=True, exist_ok=True)

        done, calls = checkout.make(target, **{**needed(target), name: value})

        assert done.returncode == 0, (target, value, done.stderr)
        assert calls and all(call.environment[name] == value for call in calls), (target, value)
        assert len(carriers(calls, value)) == (target != "bench" or name == "BENCH"), (target, value, calls)
        assert not checkout.hit(), (target, value)


def needed(target: str) -> dict[str, str]:
    """What a target does not start without."""
    text = recipes()[target]
    needed = {name: value for name, value in NEEDED.items() if says(text, name)}
    return needed | ({"PLATFORM": "jp6"} if target == "lock" else {})


@pytest.mark.parametrize("name", sorted(CHECKED))
def test_what_has_a_fixed_form_is_refused_in_the_words_that_were_typed_before_anything_starts(
    name: str, checkout: Checkout
) -> None:
    target = CHECKED[name]
    for value in (*HOSTILE, f"x{RELEASE}", f"{RELEASE}0", "1.2.0"):
        if name == "REGISTRY" and value == "1.2.0":
            continue
        done, calls = checkout.make(target, **{**needed(target), name: value})

        errors = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
        assert (done.returncode, calls) == (2, []), (value, done.stderr)
        assert len(errors) == 1 and errors[0].startswith(f"error: {name}="), (value, errors)
        assert not checkout.hit(), value


def test_an_environment_may_have_any_name(checkout: Checkout) -> None:
    targets = users("VENV")
    assert len(targets) > 15
    for value, target in itertools.zip_longest(HOSTILE, targets):
        value, target = f"./{value}" if value else ".venv", target or "status"
        checkout.environment(value)

        done, calls = checkout.make(target, VENV=value, **needed(target))

        assert done.returncode == 0, (target, value, done.stderr)
        inside = [call for call in calls if not call.program.startswith("requirements/")]
        folders = (f"{value}/bin/", f"{checkout.folder / value}/bin/")
        assert inside and all(call.program.startswith(folders) for call in inside), (target, value, calls)
        assert not checkout.hit(), (target, value)


def test_a_checkout_may_lie_in_any_folder(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / FOLDER)
    for target in recipes():
        if target.startswith(("check-", "$")) or target in ("help", "clean"):
            continue

        done, calls = checkout.make(target, **needed(target))

        assert done.returncode == 0, (target, done.stderr)
        assert calls, target
        for call in calls:
            assert call.environment.get("ANSIBLE_CONFIG", f"{checkout.folder}/ansible/ansible.cfg").startswith(
                str(checkout.folder)
            )
        assert not checkout.hit(), target


def test_a_folder_in_which_no_environment_can_be_made_is_named_before_it_is_tried(tmp_path: Path) -> None:
    for number, name in enumerate((FOLDER, "a:b", "a\\b")):
        checkout = Checkout(tmp_path / str(number) / name)
        (checkout.folder / ".venv/.ready").unlink()

        done, calls = checkout.make("dist")

        assert (done.returncode, calls) == (2, [])
        assert f"error: no environment can be made in {checkout.folder}/.venv: move the checkout" in done.stderr


def test_an_environment_is_made_when_it_is_missing_or_older_than_its_lock_file(checkout: Checkout) -> None:
    ready = checkout.folder / ".venv/.ready"
    ready.unlink()

    _, calls = checkout.make("dist")
    assert (calls[0].program, calls[0].arguments) in [
        ("requirements/bootstrap.sh", [".venv"]),
        (".venv/bin/python", calls[0].arguments),
    ]
    assert "requirements/bootstrap.sh" in [call.program for call in calls] and ready.exists()

    os.utime(ready, (0, 0))
    assert "requirements/bootstrap.sh" in [call.program for call in checkout.make("dist")[1]]
    assert "requirements/bootstrap.sh" not in [call.program for call in checkout.make("dist")[1]]


@pytest.mark.parametrize("target", definitions()["FLEET"].split())
def test_nothing_is_done_to_robots_without_an_inventory_that_exists(target: str, checkout: Checkout) -> None:
    others = {name: value for name, value in needed(target).items() if name != "INVENTORY"}
    for inventory, words in (
        ({}, f"write make {target} INVENTORY="),
        ({"INVENTORY": "nowhere"}, "no such file or folder"),
    ):
        done, calls = checkout.make(target, **others, **inventory)

        assert (done.returncode, calls) == (2, [])
        assert words in done.stderr.splitlines()[0]


@pytest.mark.parametrize("limit", ["", " ", ",", ":", " , "])
def test_a_limit_that_names_nobody_is_not_everybody(limit: str, checkout: Checkout) -> None:
    done, calls = checkout.make("deploy", INVENTORY="fleet", RELEASE=RELEASE, LIMIT=limit)

    assert (done.returncode, calls) == (2, []) and "LIMIT=" in done.stderr


def test_a_name_that_is_mistyped_is_refused(checkout: Checkout) -> None:
    done, calls = checkout.make("deploy", INVENTORY="fleet", RELEASE=RELEASE, LIMT="bay-1")

    assert (done.returncode, calls) == (2, []) and "LIMT= is not known here" in done.stderr


def test_a_rollback_takes_no_release_for_the_one_to_go_to(checkout: Checkout) -> None:
    done, calls = checkout.make("rollback", INVENTORY="fleet", RELEASE=RELEASE)

    assert (done.returncode, calls) == (2, []) and "write make rollback TO=" in done.stderr


def test_switches_and_targets_become_options_of_the_playbooks(checkout: Checkout) -> None:
    expected = {
        ("deploy", "RETRY"): ["-e", f"homeport_release={RELEASE}", "-e", "homeport_retry=true"],
        ("status", "DOCTOR"): ["-e", "homeport_doctor=true"],
        ("prune", "CHECK"): ["--inventory", "fleet", "--check", "--diff", "ansible/playbooks/prune.yml"],
        ("drain", "CHECK"): ["--inventory", "fleet", "--check", "--diff", "ansible/playbooks/drain.yml"],
    }
    for (target, name), words in expected.items():
        _, [call] = checkout.make(target, **{**needed(target), name: "1"})
        assert [each for each in call.arguments if each in words] == words
    _, [call] = checkout.make("rollback", INVENTORY="fleet", TO="fallback")
    assert call.arguments[-2:] == ["-e", "homeport_to=fallback"]


def test_every_variable_of_the_makefile_is_a_setting_or_its_own() -> None:
    """A new one that is written $(NAME) would be read by make and shell, and one that is no setting is refused."""
    used = set(re.findall(r"\$[({]([A-Z_]+)[)}]|\$\(call option,[a-z-]+,([A-Z_]+)\)|\$\$\{?([A-Z_]+)\b", MAKEFILE))
    names = {name for group in used for name in group if name}
    own = {"MAKECMDGOALS", "PATH", "PWD", "TYPED"}

    assert names - set(definitions()) - set(settings()) - own == set()
    pasted = re.findall(rf"(?<!if )\$\(({'|'.join(settings())})\)", re.sub("^#.*$", "", MAKEFILE, flags=re.MULTILINE))
    assert pasted == [], 'write "$$NAME" in a recipe, and $(call option,--name,NAME) for an option'
