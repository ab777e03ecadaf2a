"""Pack the agent as one file that any Python from 3.10 on runs: `python -m stack.agent.build --out homeport-agent`.

Two builds of the same code give the same bytes: names are sorted and times are fixed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from model_registry.core.files import Files
from model_registry.core.version import version

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"import sys\n\nfrom stack.agent.__main__ import main\n\nsys.exit(main())\n"
_TIME = (1980, 1, 1, 0, 0, 0)
_TOP = Path(__file__).resolve().parents[2]


def members() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file of the archive."""
    yield "__main__.py", _MAIN
    yield "model_registry/core/VERSION", f"{version()}\n".encode()
    for package in ("stack", "model_registry"):
        yield f"{package}/__init__.py", (_TOP / package / "__init__.py").read_bytes()
    for folder in ("stack/agent", "model_registry/core"):
        for path in sorted((_TOP / folder).rglob("*.py")):
            yield str(path.relative_to(_TOP)), path.read_bytes()
    # Python 3.10 has no tomllib; the same code runs there under the name it had before it became part of Python.
    spec = importlib.util.find_spec("tomllib") or importlib.util.find_spec("tomli")
    for folder_name in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder_name).glob("*.py")):
            yield f"tomli/{path.name}", path.read_bytes()


def archive() -> bytes:
    """The whole zipapp."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(members()):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            target.writestr(info, data)
    return buffer.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Write the file and make it executable."""
    parser = argparse.ArgumentParser(description="Pack homeport-agent as one file.")
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    Files().write(out, archive(), 0o755)
    sys.stdout.write(f"{out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
