"""Paths of files inside of a model: plain, relative, and of a kind that a model may carry; and paths that are typed.

check_path("golden/one.npz", "vla.json.files")   the path, or UsageError that names where it was written
at_home(Path("~/registry"))                      the path in somebody's home
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from model_registry.core.errors import UsageError

SUFFIXES = frozenset(
    {".onnx", ".data", ".onnx_data", ".json", ".npz", ".safetensors", ".txt", ".md", ".model", ".v1", ""}
)


def check_path(text: str, path: str) -> str:
    """A relative file path that is safe to join anywhere. Raises UsageError."""
    parts = PurePosixPath(text).parts
    bad = not parts or text.startswith("/") or ".." in parts or "\\" in text or str(PurePosixPath(text)) != text
    if bad or not text.isascii() or not text.isprintable() or len(text) > 200:
        raise UsageError(f"{path}: expected a plain relative path, got {text!r}")
    if PurePosixPath(text).suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: {text!r} is not a kind of file that models may carry "
            f"({', '.join(sorted(SUFFIXES - {''}))}); weights beside a graph are called NAME.data"
        )
    return text


def at_home(path: Path) -> Path:
    """A path that a person has typed, with `~` and `~name` replaced. Raises UsageError where nobody has that name."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: {error}; write the whole path") from error
