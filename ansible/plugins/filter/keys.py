"""What the role `device` does with the key files of a robot, so that they become what the inventory names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any


def key_files(paths: Iterable[str], signing: Iterable[str], removed: Iterable[str]) -> dict[str, list[str]]:
    """Names without .pub that are to be retired (`retire`), and files that are to go (`remove`).

    `paths` are the robot's files in keys/ and keys/retired/; `signing` and `removed` are names of keys.
    """
    keep, gone = set(signing), set(removed)
    retire: list[str] = []
    remove: list[str] = []
    for path in map(PurePosixPath, sorted(paths)):
        retired, name = path.parent.name == "retired", path.stem
        if name not in keep | gone and not retired:
            retire.append(name)
        if name in gone or (name in keep if retired else name not in keep):
            remove.append(str(path))
    return {"retire": retire, "remove": remove}


def signers(contents: Iterable[str]) -> list[str]:
    """The ids of the keys that signed these documents, which come in base64 as `slurp` reads them."""
    documents = (json.loads(base64.b64decode(content)) for content in contents)
    return sorted({str(each["keyid"]) for document in documents for each in document["signatures"]})


class FilterModule:
    """What the role sees."""

    def filters(self) -> dict[str, Any]:
        return {"homeport_key_files": key_files, "homeport_signers": signers}
