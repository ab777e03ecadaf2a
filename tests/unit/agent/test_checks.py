"""The doctor's lines whose source a test gives: disk, clock, memory, base, and the copies for the ways back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.layout import SLOTS
from stack.agent.doctor.checks import CHECKS
from stack.agent.doctor.examine import DoctorLine, Patient, examine
from stack.agent.machine.clock import Clock
from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import Rig

MIB = 1 << 20


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A robot that has committed two releases, without an agent."""
    with Rig(tmp_path_factory.mktemp("settled")) as rig:
        for version in ("1.0.0", "1.1.0"):
            rig.deploy(rig.publish(version))
        rig.stop_agent()
        yield rig


def one(patient: Patient, name: str) -> DoctorLine:
    [finding] = examine(patient, {name: CHECKS[name]})
    assert finding.verdict == "ok" or (finding.fix and "\n" not in str(finding))
    return finding


@pytest.mark.parametrize(
    ("free_mib", "verdict", "words"),
    [(100_000, "ok", "100000 MiB free"), (1000, "warn", "may not hold another release"), (100, "fail", "256 needed")],
)
def test_the_disk_is_well_small_or_full(settled: Rig, free_mib: int, verdict: str, words: str) -> None:
    patient = Patient(settled.layout)
    patient.free = lambda _: free_mib * MIB
    found = one(patient, "disk")
    assert found.verdict == verdict and words in found.text


@pytest.mark.parametrize(
    ("now", "state", "verdict", "words"),
    [
        (2e9, 0, "ok", "2033-05-18 03:33 UTC, synchronised"),
        (2e9, 5, "warn", "nothing keeps it right"),
        (2e9, -1, "warn", "cannot be seen here"),
        (0.0, 0, "warn", "before this robot's own files"),
    ],
)
def test_the_clock_is_kept_right_or_not(settled: Rig, now: float, state: int, verdict: str, words: str) -> None:
    patient = Patient(settled.layout)
    patient.clock = Clock(lambda: now, lambda: state)
    found = one(patient, "clock")
    assert found.verdict == verdict and words in found.text


@pytest.mark.parametrize(("mib", "verdict"), [(4096, "ok"), (100, "warn"), (32, "fail")])
def test_memory_for_two_slots_for_one_or_for_none(settled: Rig, tmp_path: Path, mib: int, verdict: str) -> None:
    """Nothing runs, so that both policies (64 MiB each) have still to come."""
    (tmp_path / "meminfo").write_text(f"MemTotal:  9000000 kB\nMemAvailable:  {mib << 10} kB\n")
    hidden = {slot: settled.layout.slot_process(slot) for slot in SLOTS if settled.layout.slot_process(slot).exists()}
    for path in hidden.values():
        path.rename(path.with_suffix(".hidden"))
    found = one(Patient(settled.layout, tmp_path), "memory")
    for path in hidden.values():
        path.with_suffix(".hidden").rename(path)
    assert found.verdict == verdict and "128 MiB needed so that two slots run" in found.text


def test_the_base_line_says_what_the_base_was_told(settled: Rig) -> None:
    found = one(Patient(settled.layout), "base")
    assert found.verdict == "ok" and "0.25 s after the last command" in found.text


def test_copies_of_a_robot_of_processes(settled: Rig) -> None:
    first = settled.copy_of(f"sha256:{settled.layout.fallback.resolve().name}")
    assert one(Patient(settled.layout), "copies") == DoctorLine(
        "copies", "ok", "the copies of previous and fallback are whole"
    )
    data = first.read_bytes()
    first.write_bytes(data[:-1] + b"?")
    damaged = one(Patient(settled.layout), "copies")
    assert damaged.verdict == "fail" and str(first) in str(damaged.fix) and "stage it" in str(damaged.fix)
    assert first.exists(), "a doctor changes nothing"
    first.unlink()
    missing = one(Patient(settled.layout), "copies")
    first.write_bytes(data)
    assert missing.verdict == "warn" and "previous and fallback" in missing.text


def test_a_robot_without_a_release_needs_no_copies(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        found = one(Patient(rig.layout), "copies")
    assert found == DoctorLine("copies", "ok", "not needed before a release was committed")


def test_copies_of_a_robot_of_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with DockerRig(tmp_path) as rig:
        release = rig.publish("1.0.0")
        assert rig.deploy(release).code == 0
        rig.wait_copied(release)
        rig.stop_agent()
        [archive] = rig.layout.images.glob("*.tar")
        well = one(Patient(rig.layout), "copies")
        data = archive.read_bytes()
        archive.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        damaged = one(Patient(rig.layout), "copies")
        archive.write_bytes(data[:-1])
        short = one(Patient(rig.layout), "copies")
        archive.unlink()
        missing = one(Patient(rig.layout), "copies")
        rig.start_agent()
        rig.until(lambda: one(Patient(rig.layout), "copies").verdict == "ok", "the copy was made again")
    assert (well.verdict, well.text) == ("ok", "the copies of fallback are whole")
    assert damaged.verdict == "fail" and str(damaged.fix) == f"remove {archive} and the agent makes it again"
    assert short.verdict == missing.verdict == "warn" and "let the agent serve" in str(missing.fix)
