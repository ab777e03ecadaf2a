"""docs/bring-your-policy.md, typed line by line as it stands there, with a policy of a camera and words.

What its text asks a person to write, this writes: the answers in its block of TOML, and its program for goldens.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tomllib
from onnx import TensorProto, helper, numpy_helper

from model_registry.cli.entry import run
from stack.cli import build
from stack.models.commands import tokenizer_json
from tests.fakes.lerobot_directory import documents, write
from tests.fakes.recipe import make_recipe
from tests.fakes.ros import REPOSITORY
from tests.testbed.readme import commands

PAGE = REPOSITORY / "docs" / "bring-your-policy.md"
COMMANDS = commands(PAGE.read_text())
CHAPTERS = (
    "Draft the contract",
    "Make goldens",
    "Check it",
    "Pack it",
    "Release it",
    "The next version",
    "From LeRobot",
)
BLOCK = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def blocks() -> dict[str, str]:
    """The one block of each language on the page."""
    found = {language: text for language, text in BLOCK.findall(PAGE.read_text())}
    assert set(found) == {"toml", "python"}
    return found


class Author:
    """Somebody who goes through the page, in a folder of their own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.model = folder / "yard" / "yard-1.0.0"
        self._capture = capture

    def chapter(self, title: str) -> list[str]:
        """Type all lines of a chapter; what each printed on stdout."""
        lines = [command.line for command in COMMANDS if command.section == title]
        assert lines, f"the page has no chapter {title!r} with commands"
        return [self.type(line) for line in lines]

    def type(self, line: str) -> str:
        """One line, which has to succeed."""
        program, *words = shlex.split(line.replace("~", str(self.folder / "home")))
        if program == ".venv/bin/python":
            done = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, cwd=self.folder, timeout=100
            )
            assert done.returncode == 0, done.stderr
            return done.stdout
        assert program == ".venv/bin/homeport"
        hook = sys.excepthook
        try:
            code = run(build(words), words)
        finally:
            sys.excepthook = hook
        out, err = self._capture.readouterr()
        assert code == 0, f"{line} ended with {code}: {out}{err}"
        return out

    def answer(self) -> None:
        """Write the answers of the page into vla.toml, each into its table in the place of "?"."""
        file = self.model / "vla.toml"
        text = file.read_text()
        for header, key, written in answers(blocks()["toml"]):
            begin = text.index(f"{header}\n") if header else 0
            place = re.compile(rf"(?m)^(?:# .*: )?{re.escape(key)} = (?:\[\n(?:  .*\n)*\]|.*)$")
            found = place.search(text, begin)
            assert found, f"{header} {key} is not drafted"
            text = text[: found.start()] + written + text[found.end() :]
        file.write_text(text)


def answers(block: str) -> Iterator[tuple[str, str, str]]:
    """Header of its table, key and whole text of each answer."""
    header = ""
    for part in re.findall(r"(?m)^\[+[\w.]+\]+$|^\w+ = \[\n(?:  .*\n)*\]$|^\w+ = .*$", block):
        if part.startswith("["):
            header = part
        else:
            yield header, part.partition(" = ")[0], part


def policy() -> onnx.ModelProto:
    """Mean colour and mean token through a matrix: image [1, 3, 96, 128] and tokens [1, 10] to action [1, 8, 2]."""
    rng = np.random.default_rng(7)
    constants = {
        "w": (rng.standard_normal((4, 16)) * 0.1).astype(np.float32),
        "ax": np.array([1], np.int64),
        "shape": np.array([1, 8, 2], np.int64),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["gap"]),
        helper.make_node("Flatten", ["gap"], ["pixels"]),
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "ax"], ["words"], keepdims=1),
        helper.make_node("Concat", ["pixels", "words"], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["action"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 96, 128]),
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", 10]),
    ]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 8, 2])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def author(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Author:
    """The files that the page begins with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOMEPORT_SOURCE", raising=False)
    yard = tmp_path / "yard"
    yard.mkdir()
    (tmp_path / "docs" / "examples").mkdir(parents=True)
    shutil.copy(REPOSITORY / "docs" / "examples" / "robot.toml", tmp_path / "docs" / "examples")
    onnx.save(policy(), str(yard / "policy.onnx"))
    (yard / "tokenizer.json").write_bytes(tokenizer_json())
    frames = np.random.default_rng(3).integers(0, 60, (4, 240, 320, 3), dtype=np.uint8)
    frames[..., 0] += 190  # a red room
    np.save(yard / "frames.npy", frames)
    (yard / "goldens.py").write_text(blocks()["python"])
    return Author(tmp_path, capsys)


def test_every_command_of_the_page_is_in_a_chapter_that_is_played() -> None:
    assert list(dict.fromkeys(command.section for command in COMMANDS)) == list(CHAPTERS)


def test_a_foreign_graph_becomes_a_signed_release(author: Author) -> None:
    author.chapter("Draft the contract")
    author.answer()
    assert '"?"' not in (author.model / "vla.toml").read_text().partition("schema = 2")[2]
    author.chapter("Make goldens")
    checked, planned = author.chapter("Check it")
    assert "4 goldens; an inference takes" in checked and "can be packed" in checked
    assert not re.search("(?m)^no ", planned)
    packed, shown = author.chapter("Pack it")
    assert re.fullmatch(r"yard/pilot@sha256:[0-9a-f]{64}\n", packed)
    assert "camera front" in shown and "angular_z" in shown
    assert release(author)

    shutil.copytree(author.model, author.folder / "yard" / "yard-1.1.0")
    file = author.folder / "yard" / "yard-1.1.0" / "vla.toml"
    file.write_text(file.read_text().replace('version = "1.0.0"', 'version = "1.1.0"'))
    [changed] = author.chapter("The next version")
    assert changed == "contract\n  version: 1.0.0 -> 1.1.0\n"


def release(author: Author) -> bool:
    """Chapter "Release it", with what its text asks a person to write, and a wheel that need not be built."""
    init, create = (command.line for command in COMMANDS if command.section == "Release it")
    author.type(init)
    recipe = author.folder / "home" / "fleet" / "release.toml"
    other = make_recipe(author.folder / "recipe")
    text = re.sub(r'(?m)^ref = "[^"]*"', 'ref = "yard/pilot:1.0.0"', recipe.read_text(), count=1)
    for key, name in (("wheel", "stack.whl"), ("lock", "robot.txt")):
        text = re.sub(rf'(?m)^{key} = "[^"]*"', f'{key} = "{other.with_name(name)}"', text)
    recipe.write_text(text)
    return bool(DIGEST.fullmatch(author.type(create).splitlines()[-1]))


def test_goldens_find_an_answer_that_is_not_what_the_policy_was_trained_with(author: Author) -> None:
    author.chapter("Draft the contract")
    author.answer()
    author.chapter("Make goldens")
    file = author.model / "vla.toml"
    file.write_text(file.read_text().replace('color = "RGB"', 'color = "BGR"'))
    words = ["model", "check", str(author.model)]
    hook = sys.excepthook
    code = run(build(words), words)
    sys.excepthook = hook

    assert code == 5


def test_a_lerobot_directory_is_drafted(author: Author) -> None:
    names = [f"joint_{number}.pos" for number in range(6)]
    features = {name: {"names": names} for name in ("observation.state", "action")}
    (author.folder / "yard" / "meta").mkdir()
    (author.folder / "yard" / "meta" / "info.json").write_text(json.dumps({"fps": 30, "features": features}))
    write(author.folder / "yard" / "pretrained_model", documents("act"))
    author.chapter("From LeRobot")

    drafted = tomllib.loads((author.folder / "yard" / "arm-1.0.0" / "vla.toml").read_text())
    assert drafted["action"]["control_hz"] == 30.0
