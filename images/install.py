"""Runs in the build, with the image's own Python, in a folder of the context: what a layer holds, the same bytes every
time.

Usage: install.py environment   the wheels here become /opt/homeport, without the paths that unused.txt lists; a licence
is never left out
       install.py application   our own wheel and the small files; found through the environment's homeport.pth

Scripts are left out: all is started with `python -m`. Equal libraries (each ROS wheel brings its own OpenSSL) become
links to one, which also saves memory. Run it with PYTHONHASHSEED=0: the order of sets reaches compiled files.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import re
import sys
import venv
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from py_compile import PycInvalidationMode

_EPOCH = 315532800  # 1980, the oldest date of a zip file: no build's clock reaches a layer
_LICENCE = re.compile(r"(^|/)(licen[cs]e|copying|notice|copyright|authors)[^/]*$|\.dist-info/", re.IGNORECASE)
_LINK_BYTES = 16384
_SMALL = ("/usr/local/bin/entrypoint", "/usr/local/bin/healthcheck", "/etc/homeport/dds.xml")


def target(name: str, site: str) -> str | None:
    """Where a wheel's file goes; None for what is not installed."""
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return f"{site}/{name}"
    kind, _, rest = rest.partition("/")
    return {"purelib": f"{site}/{rest}", "platlib": f"{site}/{rest}", "data": rest}.get(kind)


def unpack(wheel: Path, folder: Path, site: str, unused: list[str]) -> None:
    """Write the files of one wheel that are used."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = target(member.filename, site)
            if path is None or member.is_dir() or ".." in path.split("/"):
                continue
            if not _LICENCE.search(path) and any(fnmatch(path, pattern) for pattern in unused):
                continue
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.read(member))
            file.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)


def link_equal(folder: Path) -> None:
    """Keep the first of equal large files, in the order of their paths; the others point to it."""
    first: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < _LINK_BYTES:
            continue
        kept = first.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
        if kept != path:
            path.unlink()
            path.symlink_to(os.path.relpath(kept, path.parent))


def compile_all(folder: Path) -> None:
    """In one process and in order; never checked against the source again."""
    compileall.compile_dir(folder, maxlevels=99, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def set_dates(changed: Iterable[Path]) -> None:
    """Give files, and all folders above them, the one date."""
    for path in sorted({above for each in changed for above in (each, *each.parents)}, reverse=True):
        os.utime(path, (_EPOCH, _EPOCH), follow_symlinks=False)


def environment(here: Path, folder: Path) -> None:
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    patterns = [line for line in (here / "unused.txt").read_text().splitlines() if line and not line.startswith("#")]
    venv.create(
        folder, symlinks=True, system_site_packages=Path("/opt/ros").is_dir()
    )  # Ubuntu's ROS and TensorRT modules
    for wheel in sorted(here.glob("*.whl")):
        unpack(wheel, folder, site, patterns)
    (folder / site / "homeport.pth").write_text(f"{folder / 'app'}\n")
    link_equal(folder)
    compile_all(folder)
    set_dates([folder, *folder.rglob("*")])


def application(here: Path, folder: Path) -> None:
    import sbom  # type: ignore[import-not-found] # beside this file in the context, not in the checkout's package

    for wheel in here.glob("*.whl"):
        unpack(wheel, folder, ".", [])
    compile_all(folder)
    small = {Path(place): (here / Path(place).name).read_text() for place in _SMALL}
    small[Path(sbom.PLACE)] = sbom.text(Path("/"))
    for file, text in small.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    set_dates([folder, *folder.rglob("*"), *small])


if __name__ == "__main__":
    HERE = Path(__file__).parent
    if sys.argv[1] == "environment":
        environment(HERE, Path("/opt/homeport"))
    else:
        application(HERE, Path("/opt/homeport/app"))
