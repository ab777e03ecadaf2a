"""`homeport model init`: a new folder with what is known of a checkpoint, as a commented vla.toml.

The folder appears whole or not at all. Graphs are copied into it with the files that hold their weights; nothing of a
checkpoint is run, and nothing in it is unpickled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_registry.authoring import AUTHORED, unknowns
from model_registry.core.errors import NotFoundError, RefusedError, UsageError
from model_registry.core.paths import check_path
from model_registry.core.release import check_name, check_version
from stack.importers.hints import TOKENIZER, Hints, Words
from stack.importers.lerobot import draft as lerobot_draft
from stack.importers.lerobot.directory import PolicyDirectory
from stack.importers.onnx import draft as onnx_draft
from stack.importers.onnx.ends import GraphFile
from stack.importers.onnx.guess import Guesses
from stack.importers.sections import STATISTICS


@dataclass(frozen=True)
class InitResult:
    """The new folder, its files, and one sentence for each "?" in its vla.toml."""

    folder: Path
    files: tuple[str, ...]
    unknown: tuple[str, ...]


def init(
    sources: Sequence[Path], out: Path, hints: Hints, name: str | None = None, version: str = "1.0.0"
) -> InitResult:
    """Draft the contract of a checkpoint in the new folder `out`. Raises HomeportError, and leaves nothing behind."""
    if name is not None:
        check_name(name, "--name")
    check_version(version, "--version")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RefusedError(f"{out}: is there already, and nothing is overwritten; choose a new folder")
    files: list[tuple[Path, str]] = []
    if any(source.is_dir() for source in sources):
        directory = _directory(sources)
        if hints.words is None:
            hints = replace(hints, words=Words.named(lerobot_draft.named_tokenizer(directory)))
        drafted = lerobot_draft.draft(directory, hints, name, version)
    else:
        graphs = _graphs(sources)
        files += _copied(graphs)
        drafted = onnx_draft.draft(Guesses.of(graphs), hints, name, version)
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _fill(fresh, drafted.toml(_about(sources, hints)), drafted.statistics, files, hints)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            out.rmdir()
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return InitResult(out, tuple(made), tuple(unknowns(out)))


def _directory(sources: Sequence[Path]) -> PolicyDirectory:
    if len(sources) > 1:
        raise UsageError("SOURCE: one LeRobot policy directory alone, or ONNX files; name one or the other")
    return PolicyDirectory.read(sources[0])


def _graphs(sources: Sequence[Path]) -> list[GraphFile]:
    for source in sources:
        if not source.exists():
            raise NotFoundError(f"{source}: not there; name ONNX files, or one LeRobot policy directory")
    return [GraphFile.read(source) for source in sources]


def _fill(folder: Path, toml: str, statistics: bytes | None, files: Sequence[tuple[Path, str]], hints: Hints) -> None:
    folder.mkdir(parents=True)
    for source, path in files:
        target = folder / path
        if target.exists():
            raise RefusedError(f"{source}: a second file called {path}; give each graph's files names of their own")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    if hints.words is not None:
        shutil.copyfile(hints.words.file, folder / TOKENIZER)
    if statistics is not None:
        (folder / STATISTICS).write_bytes(statistics)
    (folder / AUTHORED).write_text(toml, encoding="utf-8")


def _copied(graphs: Sequence[GraphFile]) -> Iterator[tuple[Path, str]]:
    """Each file that belongs to a graph, and its path in the model."""
    for graph in graphs:
        yield graph.file, check_path(graph.file.name, str(graph.file))
        for other in graph.others:
            path = check_path(other, f"{graph.file}: the file of its weights")
            if not (graph.file.parent / path).is_file():
                raise NotFoundError(f"{graph.file}: its weights are in {path}, which is not beside it; copy it there")
            yield graph.file.parent / path, path


def _about(sources: Sequence[Path], hints: Hints) -> list[str]:
    """The first lines of a vla.toml: where it is from, and how to go on."""
    names = ", ".join(source.resolve().name for source in sources)
    given = [option for option, value in hints.given().items() if value is not None]
    missing = [option for option, value in hints.given().items() if value is None]
    return [
        f"The contract of a model, drafted by `homeport model init` from {names}.",
        f"Looked in: {', '.join([names, *given])}. Not given: {', '.join(missing) or 'nothing'}.",
        '"?" is what could not be known. Write it, and read again what was guessed from names and shapes; then',
        "`homeport model check` says what is still wrong. docs/bring-your-policy.md explains every part.",
    ]
