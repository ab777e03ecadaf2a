"""Unpack a wheel whose digest was signed. Checked anyway: a name never leads out of the folder, and only plain files are written."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from model_registry.core.errors import IntegrityError
from model_registry.core.files import sync_tree

MAX_UNPACKED_BYTES = 1 << 30


def check_member(info: zipfile.ZipInfo) -> None:
    """Raises IntegrityError for absolute names, `..`, backslashes, links and devices."""
    path = PurePosixPath(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    bad_name = path.is_absolute() or ".." in path.parts or "\\" in info.filename or not path.parts
    if bad_name or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise IntegrityError(f"image.whl: refuses to unpack {info.filename!r}; build the release again")


def unpack(wheel: Path, target: Path) -> None:
    """Write every file of `wheel` below the new folder `target` and sync it. Raises IntegrityError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            if sum(info.file_size for info in members) > MAX_UNPACKED_BYTES:
                raise IntegrityError(f"image.whl: unpacks to more than {MAX_UNPACKED_BYTES} bytes; build it again")
            for info in members:
                check_member(info)
            target.mkdir(exist_ok=True)
            for info in members:
                if not info.is_dir():
                    path = target / info.filename
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(info))
    except zipfile.BadZipFile as error:
        raise IntegrityError(f"image.whl: not a wheel ({error}); build the release again") from error
    sync_tree(target)
