"""Read a TOML file with one clear error.

`tomllib` came with Python 3.11; on 3.10 its origin, tomli, is packed beside us.
"""

from __future__ import annotations

import sys
from pathlib import Path

from model_registry.core.documents import Reader
from model_registry.core.errors import NotFoundError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> Reader:
    """Raises NotFoundError when the file is missing, UsageError when it is not TOML."""
    return Reader(load_toml(path), path.name)


def load_toml(path: Path) -> dict[str, object]:
    """The same as it stands, for what reads its keys in another way."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror}); the role `device` writes it") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid TOML (it is not UTF-8); write it as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from error
