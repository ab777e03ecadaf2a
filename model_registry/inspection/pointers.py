"""Small text files that Git LFS or Xet keep in the place of large ones until somebody fetches those.

A checkout or a mirror that was copied without them holds pointers: about 130 bytes under the name of the weights.
"""

from __future__ import annotations

import re
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.inspection.findings import Findings

_MOST_BYTES = 2048
_LFS = re.compile(rb"version https?://[^\s]*git-lfs[^\s]*/spec/")
_XET = re.compile(rb"# xet version \d")
_SIZE = re.compile(rb"^(?:size|filesize)\s*=?\s*(\d+)", re.MULTILINE)


def check_pointers(folder: Path, contract: Contract, findings: Findings) -> frozenset[str]:
    """The files of a model that are pointers, each refused; nothing else has to be said of them."""
    found: set[str] = set()
    for path in contract.files:
        made = f"{findings.prefix}{path}" in findings.documents
        kind = None if made else pointer_kind(folder / path)
        if kind is None:
            continue
        found.add(path)
        size = _SIZE.search((folder / path).read_bytes())
        of = f" of {int(size[1]):,} bytes" if size else ""
        fetch = "`git lfs pull`" if kind == "Git LFS" else "`git lfs pull` with git-xet installed, or `hf download`,"
        findings.refuse(
            path,
            f"is a pointer of {kind} in the place of the file{of}; fetch the file with {fetch} where it came from, "
            "and copy it here",
        )
    return frozenset(found)


def pointer_kind(path: Path) -> str | None:
    """`Git LFS` or `Xet` where a file is only a pointer to the real one."""
    if path.stat().st_size > _MOST_BYTES:
        return None
    data = path.read_bytes()
    if _XET.match(data):
        return "Xet"
    return "Git LFS" if _LFS.match(data) else None
