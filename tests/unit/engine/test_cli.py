"""`python -m stack.engine` as the agent calls it: a child process, JSON on stdout, an exit code."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.files import Files
from tests.fakes.robot import add_model, release_fields, stage
from tests.fakes.ros import wait_until
from tests.fakes.schemas import check
from tests.fakes.settings import ABSENT, robot_toml
from tests.fakes.tiny import make_tiny_model

ROBOT = robot_toml(embodiment="robot_arm", sources={"scan": ABSENT, "odom": ABSENT, "battery": ABSENT})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "robot"


def staged(root: Path, backend: str = "onnxruntime", wrong_by: float = 0.0, version: str = "1.0.0") -> Path:
    name = add_model(root, make_tiny_model(root.parent / f"model {version}", version, wrong_by))
    fields = release_fields(name)
    fields["engine"]["backends"] = [backend]
    return stage(root, fields, name)


def engine(*arguments: object, program: tuple[str, ...] = ("stack.engine",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *program, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_build_prints_its_result_as_json_and_its_progress_apart(root: Path) -> None:
    folder = staged(root)
    done = engine("build", "--release", folder, "--root", root, "--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert set(body) == {"key", "built", "seconds", "bytes", "gate"}
    check(body["gate"], "gate")
    assert body["gate"]["verdict"] == "healthy" and body["built"]
    assert (folder / "engine").resolve().name == body["key"]
    assert "Engine" in done.stderr and "Building in process" in done.stderr

    rows = json.loads(engine("list", "--root", root, "--json").stdout)
    made = {"backend": "onnxruntime", "precision": "fp32"}
    assert rows == [{"key": body["key"], "verdict": "healthy", "bytes": body["bytes"], **made}]
    shown = json.loads(engine("show", body["key"][:12], "--root", root).stdout)
    assert shown["files"]["gate.json"]["verdict"] == "healthy"
    again = engine("prove", "--release", folder, "--root", root, "--json")
    assert json.loads(again.stdout)["built"] is False

    homeport = ("stack.cli", "engine")
    assert json.loads(engine("list", "--root", root, "--json", program=homeport).stdout) == rows
    lost = engine("show", "0" * 64, "--root", root, program=homeport)
    assert (lost.returncode, lost.stdout) == (1, "") and lost.stderr.startswith("error: ")


def test_an_unhealthy_gate_ends_with_code_1_and_still_prints_json(root: Path) -> None:
    done = engine("build", "--release", staged(root, wrong_by=0.5), "--root", root, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["gate"]["verdict"] == "unhealthy"
    assert "FAILED parity_linear_x" in done.stderr


def test_a_release_that_does_not_fit_ends_with_code_5(root: Path) -> None:
    folder = staged(root, backend="tensorrt")
    done = engine("build", "--release", folder, "--root", root, "--json")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: no backend") and done.stderr.count("\n") == 1
    (root / "etc").mkdir()
    Files().write(root / "etc" / "robot.toml", ROBOT.encode())
    done = engine("build", "--release", folder, "--root", root, "--json")
    assert done.returncode == 5


def test_a_model_for_another_robot_ends_with_code_5_and_builds_nothing(root: Path) -> None:
    folder = staged(root)
    (root / "etc").mkdir()
    Files().write(root / "etc" / "robot.toml", ROBOT.encode())
    done = engine("build", "--release", folder, "--root", root, "--json")
    assert done.returncode == 5 and "robot_arm" in done.stderr
    assert not (root / "engines").exists()


@pytest.mark.parametrize("verb", ["build", "prove"])
def test_a_folder_without_a_release_ends_with_code_1(root: Path, verb: str) -> None:
    root.mkdir()
    done = engine(verb, "--release", root, "--root", root)
    assert done.returncode == 1 and "no readable release.json" in done.stderr


def test_proving_what_was_not_built_ends_with_code_1(root: Path) -> None:
    done = engine("prove", "--release", staged(root), "--root", root)
    assert done.returncode == 1 and "build it first" in done.stderr


def test_an_intact_engine_that_cannot_be_loaded_is_built_once_more(root: Path) -> None:
    folder = staged(root)
    body = json.loads(engine("build", "--release", folder, "--root", root, "--json").stdout)
    kept = root / "engines" / body["key"]
    make_foreign(kept)
    done = engine("build", "--release", folder, "--root", root, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["built"] and "building it once more" in done.stderr
    assert (root / "engines" / f"{body['key']}.bad").is_dir()
    shown = engine("show", body["key"], "--root", root)
    assert shown.returncode == 0, "the damaged one beside it is in nobody's way"
    (kept / "gate.json").write_bytes(b'{"schema":1,"ver')
    rows = json.loads(engine("list", "--root", root, "--json").stdout)
    assert [row["verdict"] for row in rows] == ["damaged", "damaged"], "one bad file hides no other engine"


def make_foreign(folder: Path) -> None:
    """Intact, and not to be loaded."""
    (folder / "policy/engine.onnx").write_bytes(b"made by another runtime")
    record = json.loads((folder / "key.json").read_bytes())
    record["files"]["policy/engine.onnx"] = str(Digest.of_file(folder / "policy/engine.onnx"))
    record["bytes"] = sum((folder / name).stat().st_size for name in record["files"])
    (folder / "key.json").write_text(json.dumps(record))


@pytest.mark.parametrize("foreign", [False, True])
def test_a_candidate_that_fails_leaves_the_engine_that_it_shares_as_it_was_proved(root: Path, foreign: bool) -> None:
    """The release that drives may be using it, and would refuse to start again without the proof."""
    drives = staged(root)
    key = json.loads(engine("build", "--release", drives, "--root", root, "--json").stdout)["key"]
    if foreign:
        make_foreign(root / "engines" / key)
    before = {path.name: path.read_bytes() for path in (root / "engines" / key).iterdir() if path.is_file()}
    candidate = staged(root, wrong_by=1.0, version="1.0.1")
    if not foreign:
        golden = next((candidate / "model").resolve().rglob("*.npz"))
        golden.chmod(0o644)
        golden.write_bytes(b"damaged")
    done = engine("build", "--release", candidate, "--root", root, "--json")
    body = json.loads(done.stdout)
    assert (done.returncode, body["key"]) == (1, key), done.stderr
    assert ("building it once more" in done.stderr) is foreign
    failed = [check["metric"] for check in body["gate"]["checks"] if not check["ok"]]
    assert failed == (["parity_linear_x", "parity_angular_z"] if foreign else ["inputs"])
    assert {path.name: path.read_bytes() for path in (root / "engines" / key).iterdir() if path.is_file()} == before
    assert "ready" in before and not (root / "engines" / f"{key}.bad").exists()


def test_a_proof_that_fails_later_does_not_stop_the_release_that_drives(root: Path) -> None:
    drives = staged(root)
    assert engine("build", "--release", drives, "--root", root).returncode == 0
    golden = next((drives / "model").resolve().rglob("*.npz"))
    golden.chmod(0o644)
    golden.write_bytes(b"damaged")
    assert engine("prove", "--release", drives, "--root", root).returncode == 1
    assert json.loads((drives / "prove.json").read_bytes())["verdict"] == "healthy"


def test_gc_removes_what_no_release_links_to_and_keeps_what_is_young(root: Path) -> None:
    folder = staged(root)
    kept = json.loads(engine("build", "--release", folder, "--root", root, "--json").stdout)["key"]
    engines = root / "engines"
    for name in ("f" * 64, f"{'e' * 64}.bad", f".{'d' * 64}.tmp"):
        (engines / name).mkdir()
    for name in (f"{kept}/variants/.{'c' * 64}.tmp", ".timing"):
        (engines / name).mkdir(parents=True, exist_ok=True)
    (engines / ".timing" / f".{'b' * 64}.cache.tmp").write_bytes(b"half")
    old = time.time() - 7200
    os.utime(engines / kept, (old, old))
    assert json.loads(engine("gc", "--root", root, "--json").stdout) == [f"{'e' * 64}.bad"]
    os.utime(engines / ("f" * 64), (old, old))
    assert engine("gc", "--root", root).stdout.split() == ["f" * 64]
    assert [path.name for path in engines.iterdir() if not path.name.startswith(".")] == [kept]
    assert not list(engines.rglob(".*.tmp"))


def test_a_precision_that_this_device_does_not_compute_ends_with_code_5(root: Path) -> None:
    """x86-64 has no fp16 kernels in ONNX Runtime, which then computes in fp32 and says nothing."""
    if platform.machine() != "x86_64":
        pytest.skip("only x86-64 is known to have no fp16 kernels")
    name = add_model(root, make_tiny_model(root.parent / "model"))
    fields = release_fields(name)
    fields["engine"]["precision"] = "fp16"
    done = engine("build", "--release", stage(root, fields, name), "--root", root, "--json")
    assert (done.returncode, done.stdout) == (5, "")
    assert "onnxruntime built fp32 here, and the release asks for fp16" in done.stderr
    assert not list((root / "engines").glob("*")) or not [p for p in (root / "engines").iterdir() if p.name[0] != "."]


def test_a_build_that_is_terminated_leaves_nothing(root: Path) -> None:
    folder = staged(root)
    command = [sys.executable, "-m", "stack.engine", "build", "--release", str(folder), "--root", str(root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        worker = next(int(line.split()[3]) for line in process.stderr if line.startswith("Building in process"))
        process.terminate()
        process.stderr.read()
        assert process.wait(30) == 143
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), 10.0, "the builder to be gone")
    left = [path.name for path in (root / "engines").iterdir()]
    assert set(left) <= {".lock", ".timing"}
