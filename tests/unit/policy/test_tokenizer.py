"""Commands to tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stack.models.commands import TOKENS, UNKNOWN, tokenizer_json
from stack.engine.words import CommandTokenizer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_json())
    return file


def test_tokens_have_the_fixed_length_and_are_padded_with_0(path: Path) -> None:
    tokens = CommandTokenizer(path, TOKENS)("go to the red pillar")
    assert tokens is not None
    assert tokens.shape == (1, TOKENS) and tokens.dtype == np.int64
    assert (tokens[0, :5] > 1).all() and (tokens[0, 5:] == 0).all()


def test_case_does_not_matter_and_unknown_words_are_1(path: Path) -> None:
    tokenize = CommandTokenizer(path, TOKENS)
    upper, lower = tokenize("Go To the RED pillar"), tokenize("go to the red pillar")
    assert upper is not None and lower is not None and np.array_equal(upper, lower)
    odd = tokenize("go to the frobnicated pillar")
    assert odd is not None and odd[0, 3] == 1


@pytest.mark.parametrize("command", ["", "   ", "xyzzy plugh", "stop", "STOP now", "please halt", "estop"])
def test_empty_unknown_and_stop_commands_do_not_move_the_robot(path: Path, command: str) -> None:
    assert CommandTokenizer(path, TOKENS)(command) is None


def test_marks_that_a_tokenizer_adds_to_every_text_are_no_words(path: Path) -> None:
    document = json.loads(path.read_bytes())
    number = len(document["model"]["vocab"])
    document["model"]["vocab"]["<s>"] = number
    document["added_tokens"].append({**document["added_tokens"][0], "id": number, "content": "<s>"})
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [number], "tokens": ["<s>"]}},
    }
    path.write_text(json.dumps(document))
    tokenize = CommandTokenizer(path, TOKENS)
    assert tokenize("xyzzy plugh") is None
    tokens = tokenize("turn left")
    assert tokens is not None and tokens[0, 0] == number and (tokens[0, 1:3] > UNKNOWN).all()


def test_long_commands_are_cut(path: Path) -> None:
    tokens = CommandTokenizer(path, TOKENS)("go " * 5000)
    assert tokens is not None and tokens.shape == (1, TOKENS)


def test_repeated_commands_come_from_memory(path: Path) -> None:
    tokenize = CommandTokenizer(path, TOKENS)
    for _ in range(3):
        tokenize("turn left")
    assert (tokenize.cache.hits, tokenize.cache.misses) == (2, 1)


def test_other_processes_give_the_same_tokens_whatever_their_hash_seed(path: Path) -> None:
    program = (
        "import sys, pathlib; from stack.engine.words import CommandTokenizer;"
        "print(CommandTokenizer(pathlib.Path(sys.argv[1]), 10)('go to the red pillar').tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
