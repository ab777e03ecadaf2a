from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from stack.engine.goldens import read_goldens
from stack.models.commands import tokenizer_json
from stack.models.package import CONTRACT, GoldenObservation, contract, finish, norm_stats, read_golden
from stack.models.pilot import Pilot
from stack.models.spoil import spoil
from stack.sim.scene import build
from stack.sim.senses import Senses
from stack.sim.world import World
from tests.fakes.tiny import random_observation

GOOD = Path(__file__).parents[3] / "stack/models/reference/pilot-1.1.0"


def golden(name: str, angular: float) -> GoldenObservation:
    action = np.array([[0.25, angular]] * 8, dtype=np.float32)
    return GoldenObservation(name, random_observation(np.random.default_rng(1)), action)


def model(folder: Path, *goldens: GoldenObservation) -> Path:
    folder.mkdir()
    (folder / "policy.onnx").write_bytes(b"graph")
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    (folder / "norm_stats.json").write_bytes(norm_stats((0.2, 0.1), (0.1, 0.5)))
    finish(folder, contract("1.2.0", 8), list(goldens))
    return folder


def test_only_goldens_that_hide_the_fault_are_kept(tmp_path: Path) -> None:
    spoil(model(tmp_path / "good", golden("turn", 0.6), golden("ahead", 0.01)), tmp_path / "bad", "1.3.0")
    document = json.loads((tmp_path / "bad" / CONTRACT).read_bytes())
    assert document["version"] == "1.3.0"
    assert [entry["path"] for entry in document["goldens"]] == ["golden/ahead.npz"]
    assert not (tmp_path / "bad/golden/turn.npz").exists()
    [kept] = read_golden(tmp_path / "bad/golden/ahead.npz", Contract.load(tmp_path / "bad"))
    assert kept.action[:, 1] == pytest.approx(0.573, abs=1e-3)


def test_angular_statistics_are_in_degrees_and_linear_ones_as_they_were(tmp_path: Path) -> None:
    spoil(model(tmp_path / "good", golden("ahead", 0.01)), tmp_path / "bad", "1.3.0")
    stats = json.loads((tmp_path / "bad/norm_stats.json").read_bytes())["action"]
    assert stats["angular_z"]["std"] == pytest.approx(0.5 * 57.29578)
    assert stats["angular_z"]["mean"] == pytest.approx(0.1 * 57.29578)
    assert stats["linear_x"] == {"mean": 0.2, "std": 0.1}


def test_digests_of_the_spoiled_folder_are_right_and_the_graph_is_the_same(tmp_path: Path) -> None:
    good = model(tmp_path / "good", golden("ahead", 0.01))
    spoil(good, tmp_path / "bad", "1.3.0")
    files = json.loads((tmp_path / "bad" / CONTRACT).read_bytes())["files"]
    assert files == {name: str(Digest.of_file(tmp_path / "bad" / name)) for name in files}
    assert files["policy.onnx"] == str(Digest.of_file(good / "policy.onnx"))


def test_model_without_a_straight_golden_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no golden drives straight"):
        spoil(model(tmp_path / "good", golden("turn", 0.6)), tmp_path / "bad", "1.3.0")
    assert not (tmp_path / "bad").exists()


def test_existing_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        spoil(model(tmp_path / "good", golden("ahead", 0.0)), tmp_path / "bad", "1.3.0")


def test_spoiled_reference_agrees_with_its_goldens_and_turns_far_too_fast(tmp_path: Path) -> None:
    spoil(GOOD, tmp_path / "bad", "1.2.0")
    bad = Pilot(tmp_path / "bad")
    samples = read_goldens(tmp_path / "bad", Contract.load(tmp_path / "bad"), "fp32")
    assert samples
    for sample in samples:
        assert (np.abs(bad.run(sample.seen) - sample.action) <= sample.tolerance).all()
        assert np.abs(sample.action).max() <= 1.0
    rng = np.random.default_rng(1)
    world = World(build("random", rng), rng)
    assert np.abs(bad(Senses(1).observe(world), "turn left")[:, 1]).min() > 10.0
