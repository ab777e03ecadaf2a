"""Commands to tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.contract.observation import TextRecipe
from stack.engine.words import CommandTokenizer
from stack.models.commands import TOKENS, UNKNOWN, tokenizer_json

RECIPE = TextRecipe("tokenizer.json", TOKENS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_json())
    return file


def test_tokens_have_the_fixed_length_and_are_padded_with_0(path: Path) -> None:
    tokens = CommandTokenizer(path, RECIPE)("go to the red pillar").numbers
    assert tokens.shape == (1, TOKENS) and tokens.dtype == np.int64
    assert (tokens[0, :5] > 1).all() and (tokens[0, 5:] == 0).all()


def test_case_does_not_matter_and_unknown_words_are_1(path: Path) -> None:
    tokenize = CommandTokenizer(path, RECIPE)
    upper, lower = tokenize("Go To the RED pillar"), tokenize("go to the red pillar")
    assert np.array_equal(upper.numbers, lower.numbers)
    assert tokenize("go to the frobnicated pillar").numbers[0, 3] == UNKNOWN


@pytest.mark.parametrize("command", ["", "   ", "xyzzy plugh", "stop", "STOP now", "please halt", "estop"])
def test_empty_unknown_and_stop_commands_do_not_move_the_robot(path: Path, command: str) -> None:
    assert not CommandTokenizer(path, RECIPE).moves(command)


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
    tokenize = CommandTokenizer(path, RECIPE)
    assert not tokenize.moves("xyzzy plugh") and tokenize.moves("turn left")
    tokens = tokenize("turn left").numbers
    assert tokens[0, 0] == number and (tokens[0, 1:3] > UNKNOWN).all()


def test_long_commands_are_cut(path: Path) -> None:
    assert CommandTokenizer(path, RECIPE)("go " * 5000).numbers.shape == (1, TOKENS)


def test_any_words_but_stop_words_move_where_the_vocabulary_is_open(path: Path) -> None:
    tokenize = CommandTokenizer(path, replace(RECIPE, closed=False))
    assert tokenize.moves("xyzzy plugh")
    assert not tokenize.moves("please halt") and not tokenize.moves(" ")


def test_a_template_a_mask_and_padding_on_the_left_are_as_the_recipe_says(path: Path) -> None:
    tokenize = CommandTokenizer(path, replace(RECIPE, template="please {text}", mask="bool", pad_side="left", pad_id=7))
    said = tokenize("turn left")
    plain = CommandTokenizer(path, RECIPE)("please turn left").numbers[0, :3]
    assert said.numbers[0].tolist() == [7] * (TOKENS - 3) + plain.tolist()
    assert said.mask is not None and said.mask.dtype == np.bool_
    assert said.mask[0].tolist() == [False] * (TOKENS - 3) + [True] * 3
    assert not tokenize.moves("xyzzy"), "the words of the template are no words of the command"


def test_repeated_commands_come_from_memory(path: Path) -> None:
    tokenize = CommandTokenizer(path, RECIPE)
    for _ in range(3):
        tokenize("turn left")
    assert (tokenize.cache.hits, tokenize.cache.misses) == (2, 1)


def test_other_processes_give_the_same_tokens_whatever_their_hash_seed(path: Path) -> None:
    program = (
        "import sys, pathlib; from stack.engine.words import CommandTokenizer;"
        "from model_registry.core.contract.observation import TextRecipe; recipe = TextRecipe('', 10);"
        "print(CommandTokenizer(pathlib.Path(sys.argv[1]), recipe)('go to the red pillar').numbers.tolist())"
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
