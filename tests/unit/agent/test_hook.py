"""The site's hook program: everything but a clear yes is a no with its reason, in time, and without our rights or
environment.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from stack.agent.settings.hook import Hook, HookAnswer


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that the account of the hook may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def hook(folder: Path, script: str, timeout_s: float = 10.0) -> Hook:
    path = folder / "may-change"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Hook((str(path),), timeout_s)


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("exit 0", HookAnswer(None)),
        ("""echo '{"ok": true}'""", HookAnswer(None)),
        ("""echo '{"ok": true, "lease_s": 5}'""", HookAnswer(None, 5.0)),
        ("""echo '{"ok": false, "reason": "a box is in its gripper"}'""", HookAnswer("a box is in its gripper")),
        ("""echo '{"ok": false}'""", HookAnswer("its hook says no (exit 0)")),
        ("""echo '{"ok": true}'; exit 1""", HookAnswer("its hook says no (exit 1)")),
        ("echo not docked; echo more; exit 1", HookAnswer("not docked")),
        ("exit 75", HookAnswer("its hook ended with exit 75")),
        ("kill -9 $$", HookAnswer("its hook ended with exit -9")),
    ],
)
def test_yes_is_exit_0_and_no_contradiction(shared: Path, script: str, answer: HookAnswer) -> None:
    assert hook(shared, script).ask("idle") == answer


@pytest.mark.parametrize(
    "script",
    [
        "echo yes",
        "echo '[]'",
        "echo '{}'",
        """echo '{"ok": "true"}'""",
        """echo '{"ok": true, "docked": true}'""",
        "printf '\\377'",
    ],
)
def test_words_that_are_no_answer_are_a_no(shared: Path, script: str) -> None:
    reason = hook(shared, script).ask("idle").reason

    assert reason is not None and "gave no answer" in reason and "its hook's answer" in reason


@pytest.mark.parametrize("script", ["sleep 600", "sleep 600 &", "yes", "exec 1>&-; sleep 600"])
def test_a_hook_that_does_not_end_is_a_no_and_nothing_of_it_stays(shared: Path, script: str) -> None:
    reason = hook(shared, f"echo $$ >&2; {script}", 0.3).ask("idle").reason

    assert reason is not None and ("did not end within 0.3 s" in reason)
    mine = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(shared).encode() in _bytes(path)]
    assert mine == []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_hook_that_is_not_there_or_no_program_is_a_no(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")

    for path in (tmp_path / "none", tmp_path / "text", tmp_path):
        reason = Hook((str(path),)).ask("idle").reason
        assert reason is not None and f"its hook {path} gave no answer" in reason


def test_an_account_that_is_not_there_is_a_no(shared: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root chooses an account")
    program = hook(shared, "exit 0").command

    assert "gave no answer" in str(Hook(program, user="no-such-account").ask("idle").reason)


def test_it_runs_without_a_shell_our_rights_or_our_environment_and_knows_the_gate(shared: Path) -> None:
    path = shared / "says"
    path.write_text('#!/bin/sh\necho "$(id -u) $(/usr/bin/env | grep -cv "^PWD=\\|^_=\\|^SHLVL=") $PWD $*"\nexit 1\n')
    path.chmod(0o755)

    reason = Hook((str(path), "$HOME;", "two words")).ask("moving").reason

    uid = 65534 if os.geteuid() == 0 else os.getuid()
    assert reason == f"{uid} 0 / $HOME; two words moving"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"command": []}, "hook.command: expected a list that begins with an absolute path"),
        ({"command": ["may-change"]}, "hook.command: expected a list that begins with an absolute path"),
        ({"command": "/bin/true"}, "hook.command: expected a list"),
        ({"command": ["/bin/true"], "timeout_s": 0}, "hook.timeout_s: expected 0.1 to 60.0"),
        ({"command": ["/bin/true"], "shell": True}, "hook: unknown key 'shell'"),
    ],
)
def test_settings_that_are_wrong_are_named(keys: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        reader = Reader(keys, "hook")
        Hook.read(reader)
        reader.done()

    assert words in str(error.value)
