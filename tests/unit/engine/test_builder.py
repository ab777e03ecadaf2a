"""Engines are built once, are the same every time, and damaged ones are put aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError, LockedError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from stack.engine import builder
from stack.engine.backends import choose
from stack.engine.key import engine_key
from stack.policy.load import proved_engine
from tests.fakes.robot import add_model, build_engine, release_fields, stage
from tests.fakes.tiny import make_tiny_model


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "robot"


def staged(root: Path, **engine: Any) -> Path:
    model = root.parent / "model"
    if not model.exists():
        make_tiny_model(model)
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"].update(engine)
    return stage(root, fields, name)


def build(root: Path, folder: Path) -> builder.Built:
    Files().make_folder(Layout.at(root).engines)
    return builder.build(builder.plan(folder), Layout.at(root).engines, Files())


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    engines = [build(tmp_path / name, staged(tmp_path / name)).folder / "policy/engine.onnx" for name in ("one", "two")]
    assert engines[0].read_bytes() == engines[1].read_bytes()


def test_d11_an_engine_that_is_there_is_not_built_again(root: Path) -> None:
    folder = staged(root)
    first, second = build(root, folder), build(root, folder)
    assert first.built and not second.built
    assert first.key == second.key and first.size_bytes == second.size_bytes > 0


def test_a_damaged_engine_is_put_aside_and_built_once_more(root: Path) -> None:
    folder = staged(root)
    for _ in range(2):
        built = build(root, folder)
        engine = built.folder / "policy/engine.onnx"
        good = engine.read_bytes()
        engine.write_bytes(good[:-1] + b"\0")
        again = build(root, folder)
        assert again.built and engine.read_bytes() == good
    bad = [path.name for path in built.folder.parent.iterdir() if path.suffix == ".bad"]
    assert bad == [f"{built.key}.bad"]


def damaged(good: bytes) -> Iterator[bytes]:
    """Truncated at every eighth of its length, empty, longer, and with one bit flipped in 24 places."""
    for eighths in range(8):
        yield good[: len(good) * eighths // 8]
    yield good + b"\0"
    for place in range(24):
        data = bytearray(good)
        data[(len(good) - 1) * place // 23] ^= 1 << place % 8
        yield bytes(data)


@pytest.mark.parametrize("name", ["key.json", "policy/engine.onnx", "policy/session.json"])
def test_every_kind_of_damage_is_detected_before_an_engine_is_used(root: Path, name: str) -> None:
    folder = staged(root)
    assert build_engine(root, folder).passed
    engine = (folder / "engine").resolve()
    good, detected = (engine / name).read_bytes(), 0
    for bad in damaged(good):
        (engine / name).write_bytes(bad)
        with pytest.raises(HomeportError):
            proved_engine(folder, engine.name)
        detected += 1
    assert detected == 33
    (engine / name).write_bytes(good)
    assert proved_engine(folder, engine.name) == engine


def test_an_engine_of_an_earlier_driver_or_library_is_stale(root: Path) -> None:
    folder = staged(root)
    assert build_engine(root, folder).passed
    what = builder.plan(folder)
    device = {**what.fields["device"], "gpu": {"driver": "580.1"}}  # type: ignore[dict-item]
    with pytest.raises(IncompatibleError, match="build it again"):
        proved_engine(folder, engine_key({**what.fields, "device": device}))


def test_an_engine_whose_files_are_named_from_elsewhere_is_refused(root: Path) -> None:
    built = build(root, staged(root))
    record = json.loads((built.folder / "key.json").read_bytes())
    (built.folder.parent / "outside").write_bytes(b"")
    record["files"] = {"../outside": str(Digest.of(b""))}
    (built.folder / "key.json").write_text(json.dumps(record))
    with pytest.raises(IntegrityError):
        builder.check(built.folder, built.key)


class Rotten(Files):
    """A disk that loses a byte of what is renamed."""

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if (target / "policy/engine.onnx").exists():
            with (target / "policy/engine.onnx").open("ab") as file:
                file.write(b"!")


def test_a_build_that_comes_out_damaged_is_a_failure_and_not_tried_for_ever(root: Path) -> None:
    folder, engines, said = staged(root), Layout.at(root).engines, list[str]()
    Files().make_folder(engines)
    with pytest.raises(IntegrityError):
        builder.build(builder.plan(folder), engines, Rotten(), said.append)
    assert len([line for line in said if line.startswith("Building in process")]) == 1
    assert build(root, folder).built


@pytest.mark.parametrize("damage", ["key.json", "policy/engine.onnx"])
def test_an_engine_with_a_missing_file_is_built_again(root: Path, damage: str) -> None:
    folder = staged(root)
    (build(root, folder).folder / damage).unlink()
    assert build(root, folder).built


def test_an_engine_under_a_foreign_key_is_noticed(root: Path) -> None:
    built = build(root, staged(root))
    foreign = built.folder.with_name("0" * 64)
    built.folder.rename(foreign)
    with pytest.raises(IntegrityError, match="another model, recipe or device"):
        builder.check(foreign, foreign.name)


def test_what_an_interrupted_build_left_is_no_obstacle(root: Path) -> None:
    folder = staged(root)
    left = Layout.at(root).engines / f".{builder.plan(folder).key}.tmp"
    (left / "policy").mkdir(parents=True)
    (left / "policy/engine.onnx").write_bytes(b"half")
    assert build(root, folder).built
    assert not left.exists()


def test_a_model_with_a_flipped_byte_is_not_built(root: Path) -> None:
    folder = staged(root)
    graph = (folder / "model").resolve() / "policy.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"policy\.onnx"):
        build(root, folder)
    assert not [path for path in Layout.at(root).engines.iterdir() if not path.name.startswith(".")]


def test_a_model_link_that_leads_elsewhere_is_refused(root: Path) -> None:
    folder = staged(root)
    Files().link(folder / "model", f"../../models/{'0' * 64}")
    with pytest.raises(IntegrityError, match="stage it again"):
        builder.plan(folder)


def test_d12_r04_a_first_choice_that_is_not_here_makes_a_visible_second_choice() -> None:
    choice = choose(("tensorrt", "onnxruntime"))
    assert choice.name == "onnxruntime" and choice.degraded
    assert choice.skipped[0].startswith("tensorrt: ")
    assert not choose(("onnxruntime", "tensorrt")).degraded


def test_a_release_without_a_backend_for_this_machine_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="tensorrt"):
        choose(("tensorrt", "torch_tensorrt"))


def test_a_null_engine_remembers_its_time(root: Path) -> None:
    folder = staged(root, backends=["null"])
    built = build(root, folder)
    assert json.loads((built.folder / "policy/engine.json").read_bytes()) == {"busy": False, "ms": 0.0}


def test_only_one_process_builds_at_a_time(root: Path) -> None:
    engines = Layout.at(root).engines
    with (
        builder.lock(engines),
        pytest.raises(LockedError, match="another build"),
        builder.lock(engines, timeout_s=0.0),
    ):
        pass


def test_an_engine_is_ready_only_when_it_was_proved(root: Path) -> None:
    folder = staged(root)
    key = build(root, folder).key
    with pytest.raises(HomeportError, match="no engine"):
        proved_engine(folder, key)
    assert build_engine(root, folder).passed
    assert proved_engine(folder, key).name == key
    with pytest.raises(IncompatibleError, match="build it again"):
        proved_engine(folder, Digest.of(b"other").hex)
    (folder / "prove.json").write_text('{"schema":1,"gate":"prove","verdict":"unhealthy","checks":[]}')
    with pytest.raises(HomeportError, match="failed the gate"):
        proved_engine(folder, key)
