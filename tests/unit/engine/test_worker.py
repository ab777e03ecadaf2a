"""The builder's child: niced, capped, ended with its parent, and patient when it is paused."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_registry.core.errors import HomeportError, IncompatibleError, RefusedError
from stack.engine import worker
from tests.fakes.ros import wait_until
from tests.fakes.tiny import make_tiny_model


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., worker.BuildOrder]:
    def make(backend: str = "onnxruntime", precision: str = "fp32") -> worker.BuildOrder:
        model = tmp_path / "model"
        if not model.exists():
            make_tiny_model(model)
        folders = [tmp_path / name for name in ("target", "scratch")]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        return worker.BuildOrder(backend, precision, {}, str(model), *map(str, folders), str(tmp_path / "timing"))

    return make


def test_the_child_tells_what_it_does_and_what_it_built(
    order: Callable[..., worker.BuildOrder], tmp_path: Path
) -> None:
    said: list[str] = []
    assert worker.build(order(), said.append) == "fp32"
    assert said[0].startswith("Building in process ")
    assert (tmp_path / "target" / "policy/engine.onnx").exists()


def test_the_child_has_the_lowest_priority_a_cap_and_is_the_first_to_go(
    order: Callable[..., worker.BuildOrder],
) -> None:
    seen: dict[str, object] = {}

    def look(text: str) -> None:
        pid = int(text.split()[3])
        os.kill(pid, signal.SIGSTOP)
        seen["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
        seen["cap"] = resource.prlimit(pid, resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY
        seen["oom"] = Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
        os.kill(pid, signal.SIGCONT)

    assert worker.build(order(), lambda text: look(text) if "process" in text else None) == "fp32"
    assert seen == {"nice": 19, "cap": True, "oom": "1000"}


def test_a_pause_is_not_taken_for_silence() -> None:
    """It is paused from before it can say anything until it is killed: longer than it may be silent."""
    silence_s, paused_s = 2.0, 3.5
    with subprocess.Popen(["sh", "-c", "kill -STOP $$"], stdout=subprocess.PIPE) as child:
        wait_until(lambda: worker._stopped(child.pid), 10.0, "the child to be paused")
        with ThreadPoolExecutor() as pool:
            heard = pool.submit(lambda: list(worker._lines(child, silence_s)))
            ended_s = time.monotonic() + paused_s
            wait_until(lambda: heard.done() or time.monotonic() > ended_s, 10.0, "the pause to be long")
            child.kill()

            assert heard.result(10.0) == []


def test_a_child_that_says_nothing_is_ended(order: Callable[..., worker.BuildOrder]) -> None:
    with pytest.raises(HomeportError, match="said nothing for 0 s"):
        worker.build(order(), lambda text: None, silence_s=0.0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_one_error(order: Callable[..., worker.BuildOrder], number: int) -> None:
    def strike(text: str) -> None:
        os.kill(int(text.split()[3]), number)

    with pytest.raises(HomeportError, match=f"ended with -{int(number)} and no result"):
        worker.build(order(), lambda text: strike(text) if "process" in text else None)


def test_a_disk_that_cannot_be_written_is_told_in_its_own_words(
    order: Callable[..., worker.BuildOrder], tmp_path: Path
) -> None:
    given = order()
    (tmp_path / "target" / "policy").write_bytes(b"in the way")
    with pytest.raises(HomeportError, match=r"cannot be built: \[Errno"):
        worker.build(given, lambda text: None)


def test_the_childs_error_keeps_its_words_and_its_exit_code(order: Callable[..., worker.BuildOrder]) -> None:
    with pytest.raises(RefusedError, match="no backend of the release runs here") as caught:
        worker.build(order("tensorrt"), lambda text: None)
    assert caught.value.exit_code == IncompatibleError.exit_code


def test_the_child_ends_when_its_parent_is_killed(order: Callable[..., worker.BuildOrder]) -> None:
    program = (
        "import sys, os, signal, json\nfrom stack.engine import worker\n"
        "def stop(text):\n    print(text, flush=True)\n    os.kill(int(text.split()[3]), signal.SIGSTOP)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "worker.build(worker.BuildOrder(**json.loads(sys.argv[1])), stop)"
    )
    from model_registry.core.documents import dump

    text = dump({name: getattr(order(), name) for name in order().__dataclass_fields__}).decode()
    done = subprocess.run(
        [sys.executable, "-c", program, text], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout.split()[3])
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 10.0, "the child to be gone")
