"""Smaller variants of a model: folders in it that are whole models for the same actions, built and proved with it, each
under its own key.

Their engines are inside the folder of the model's own engine, so that whoever sees the one sees the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from model_registry.core.files import Files
from stack.engine import builder
from stack.engine.key import document, engine_key

FOLDER = "variants"


def variants(what: builder.BuildPlan, engine: Path) -> Iterator[tuple[builder.BuildPlan, Path]]:
    """Each variant's plan, and the folder of its engine. Raises IncompatibleError when a variant acts differently."""
    for name in what.contract.variants:
        model = what.model / name
        contract = Contract.load(model)
        if _behaviour(contract) != _behaviour(what.contract):
            raise IncompatibleError(
                f"{model}: understands other words or gives other actions than the model it is a variant of; export it "
                "again"
            )
        fields = document(contract, what.release, what.choice.kind(what.release.recipe.precision).identity)
        key = engine_key(fields)
        yield replace(what, contract=contract, model=model, fields=fields, key=key), engine / FOLDER / key


def build(what: builder.BuildPlan, engine: Path, files: Files) -> Iterator[tuple[str, bool]]:
    """Build and prove every variant; which, and whether it passed. One that did not is never run."""
    for variant, folder in variants(what, engine):
        built = builder.build(variant, folder.parent, files)
        yield variant.model.name, builder.prove(variant, built.folder, files).passed


def _behaviour(contract: Contract) -> tuple[object, ...]:
    """What a variant has in common with its model: its words, its actions, and where it looks."""
    text = contract.observation.text
    words = None if text is None else (replace(text, tokenizer=""), contract.files[text.tokenizer])
    seen = sorted(contract.sources.keys() - {"noise"})
    return replace(contract.action, normalise=""), words, seen
