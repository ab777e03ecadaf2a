"""Resolve one row and arch into a lock entry, and bring a locked wheelhouse back by its hashes.

Needs the registries; building does not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from images.lock import Deb, LockEntry, Wheel
from images.platforms import Row
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.files import umask
from model_registry.core.toml import read_toml

ROOT = Path(__file__).parents[1]
ROBOT = ROOT / "requirements/robot.txt"
SOURCE_ONLY = ("empy",)  # no wheel of it is published: built here, with a fixed date, and locked as built
_GLIBC = {"debian12": 36, "ubuntu22.04": 35, "ubuntu24.04": 39}
_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
_EPOCH = "315532800"  # 1980, the oldest date of a zip file
_PREFERENCES = Path(__file__).with_name("apt.pref")
_INSTALL = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)
_URI = re.compile(r"^'(\S+)' (\S+) \d+ SHA256:([0-9a-f]{64})$", re.MULTILINE)
_APT = (
    "cp /sources/* /etc/apt/sources.list.d/ && apt-get update -qq && "
    'exec apt-get install --print-uris -qq --no-install-recommends -o Acquire::ForceHash=sha256 "$@"'
)


def cache() -> Path:
    """Where wheels are kept by their hash."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport"


def entry(row: Row, arch: str, sources: Path | None) -> LockEntry:
    """Resolve everything. `sources`: apt sources (deb822 with their keys) of an Ubuntu row's packages."""
    if row.debian:
        return LockEntry("", "", packages(row, arch), (), wheels(row, arch))
    if sources is None:
        raise HomeportError(
            f"{row.name}/{arch}: give APT=FOLDER with the apt sources of ROS and NVIDIA (images/README.md)"
        )
    digest = base_digest(row.base, arch)
    found = _URI.findall(run(debs_argv(f"{row.base}@{digest}", row, arch, sources)))
    debs = tuple(Deb(file, url, sha256) for url, file, sha256 in sorted(found, key=lambda item: item[1]))
    names = (deb.file.replace("%3a", ":").split("_") for deb in debs)  # NAME_VERSION_ARCH.deb, as apt names them
    versions = {name: version for name, version, _ in names}
    _check_tensorrt(row, versions)
    return LockEntry(row.base, digest, versions, debs, wheels(row, arch))


def packages(row: Row, arch: str) -> dict[str, str]:
    """Name → version of what the mirrors would make a Debian row's root filesystem of today."""
    return dict(sorted(_INSTALL.findall(run(simulate_argv(row, arch)))))


def simulate_argv(row: Row, arch: str) -> list[str]:
    """mmdebstrap's answer to which packages it would install; nothing is downloaded but the indices, nothing of `arch`
    runs.
    """
    options = ["--simulate", "--verbose", "--skip=check/qemu", f'--aptopt=Dir::Etc::Preferences "{_PREFERENCES}"']
    return [*mmdebstrap_argv(row, arch), *options, "bookworm", os.devnull]


def mmdebstrap_argv(row: Row, arch: str) -> list[str]:
    """What decides about packages, shared with the step that makes the root filesystem."""
    return ["mmdebstrap", "--variant=minbase", f"--architectures={arch}", f"--include={','.join(row.packages)}"]


def debs_argv(base: str, row: Row, arch: str, sources: Path) -> list[str]:
    """Ask apt inside the base which files it would install, from which address and with which hash."""
    mount = f"type=bind,source={sources.resolve()},target=/sources,readonly"
    command = ["docker", "run", "--rm", "--platform", f"linux/{arch}", "--mount", mount, base]
    return [*command, "sh", "-ec", _APT, "apt", *row.packages]


def _check_tensorrt(row: Row, packages: dict[str, str]) -> None:
    """The archive offers TensorRT for several CUDA releases; take none that the row does not name."""
    version = packages.get("libnvinfer10")
    if version is not None and version != f"{row.tensorrt}-1+cuda{row.cuda}":
        raise HomeportError(
            f"{row.name}: apt would install libnvinfer10 {version}, the row says {row.tensorrt}-1+cuda{row.cuda}; "
            "pin it with a .pref file beside the sources, or change the row"
        )


def base_digest(base: str, arch: str) -> str:
    """The digest of the base's manifest for one arch."""
    text = run(["docker", "manifest", "inspect", "--verbose", base])
    platform = rf'"digest": "(sha256:[0-9a-f]{{64}})"[^{{}}]*"platform": {{[^}}]*"architecture": "{arch}"'
    if (found := re.search(platform, text)) is None:
        raise HomeportError(
            f"{base}: its registry has no manifest for linux/{arch}; correct `base` in images/platforms.toml"
        )
    return found.group(1)


def wheels(row: Row, arch: str) -> tuple[Wheel, ...]:
    """Exactly one wheel for each distribution that the row needs; all end up in the cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.txt").write_text("\n".join(requirements(row, arch)))
        (folder / "constraints.txt").write_text("\n".join(constraints(row, arch, ROBOT.read_text())))
        locked = run(compile_argv(row, arch, folder))
        return tuple(sorted(map(_kept, _download(row, arch, locked, folder)), key=lambda wheel: wheel.name))


def requirements(row: Row, arch: str) -> list[str]:
    """What the project declares for robots, without ROS wheels where ROS comes from elsewhere, and the row's own."""
    project = read_toml(ROOT / "pyproject.toml").child("project")
    declared = (*project.texts("dependencies"), *project.child("optional-dependencies").texts("robot"))
    kept = (item for item in declared if row.ros_from[arch] == "wheels" or not item.startswith("ros-"))
    return [*kept, *row.wheels, *row.constraints.get(arch, ())]


def constraints(row: Row, arch: str, robot: str) -> list[str]:
    """The versions of the robot's lock, except of what the row constrains itself."""
    own = {_name(item) for item in (*row.constraints.get(arch, ()), *row.wheels)}
    return [block.partition(" \\")[0] for block in _blocks(robot) if _name(block) not in own]


def compile_argv(row: Row, arch: str, folder: Path) -> list[str]:
    left_out = [f"--no-emit-package={name}" for name in row.without]
    return [
        str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet",
        "--generate-hashes", "--no-annotate", "--no-header",
        "--python-platform", f"{_MACHINE[arch]}-manylinux_2_{_GLIBC[row.os]}", "--python-version", row.python,
        "--constraints", str(folder / "constraints.txt"), *left_out, str(folder / "in.txt"),
    ]  # fmt: skip


def download_argv(row: Row, arch: str, wanted: Path, into: Path) -> list[str]:
    """pip does not expand manylinux_2_36 into what such a system also runs, so every platform is named, best first."""
    machine = _MACHINE[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC[row.os], 4, -1)]
    platforms += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    return [
        sys.executable, "-m", "pip", "download", "-qq", "--only-binary=:all:", "--no-deps", "--require-hashes",
        "--implementation", "cp", "--python-version", row.python, *(f"--platform={platform}" for platform in platforms),
        "-r", str(wanted), "-d", str(into),
    ]  # fmt: skip


def build_argv(wanted: Path, into: Path) -> list[str]:
    own = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--require-hashes"]
    return [sys.executable, "-m", "pip", "wheel", "-qq", *own, "-r", str(wanted), "-w", str(into)]


def wheelhouse(row: Row, arch: str, locked: Iterable[Wheel]) -> list[Path]:
    """Every locked wheel as a file of the cache, downloaded where it is missing.

    Raises IntegrityError when a hash differs.
    """
    locked = list(locked)
    if missing := [wheel for wheel in locked if not _path(wheel).is_file()]:
        sdists = {_name(block): block for block in _blocks(ROBOT.read_text()) if _name(block) in SOURCE_ONLY}
        wanted = [
            sdists.get(wheel.name) or f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in missing
        ]
        with tempfile.TemporaryDirectory() as name:
            got = {_kept(path).sha256 for path in _download(row, arch, "\n".join(wanted), Path(name))}
        if differing := [wheel.file for wheel in missing if wheel.sha256 not in got]:
            names = ", ".join(differing)
            raise HomeportError(
                f"{row.name}/{arch}: {names}: not what images/lock.json names; run `make lock` and review it"
            )
    for wheel in locked:
        Digest(wheel.sha256).check_file(_path(wheel), wheel.file)
    return [_path(wheel) for wheel in locked]


def _download(row: Row, arch: str, text: str, folder: Path) -> Iterator[Path]:
    """Fetch what a hashed requirements file names as wheels; build those of which only the source is published."""
    into = folder / "wheels"
    parts: dict[bool, list[str]] = {False: [], True: []}
    for block in _blocks(text):
        parts[_name(block) in SOURCE_ONLY].append(block)
    for source, blocks in parts.items():
        wanted = folder / f"wanted-{source}.txt"
        wanted.write_text("\n".join(blocks))
        if blocks:
            run(build_argv(wanted, into) if source else download_argv(row, arch, wanted, into))
    return into.glob("*.whl")


def _kept(path: Path) -> Wheel:
    """Move a wheel into the cache, under its hash."""
    name, version = path.name.split("-")[:2]
    wheel = Wheel(path.name, name.lower().replace("_", "-"), version, Digest.of_file(path).hex)
    _path(wheel).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, temporary := _path(wheel).with_suffix(".part"))
    temporary.replace(_path(wheel))
    return wheel


def _path(wheel: Wheel) -> Path:
    return cache() / "wheels" / wheel.sha256 / wheel.file


def _blocks(text: str) -> list[str]:
    """The entries of a requirements file, each with its hashes."""
    return [block for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()) if block]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def run(argv: list[str]) -> str:
    """stdout of a command. Raises HomeportError with the end of what it said."""
    with umask(0o022):  # file modes go into built wheels
        # What directs a Python would direct those of a new root filesystem too, and where they keep what they compile.
        here = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment = {**here, "SOURCE_DATE_EPOCH": _EPOCH}
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        except FileNotFoundError:
            raise HomeportError(f"{argv[0]} is not installed here; run requirements/bench.sh as root") from None
    if done.returncode:
        raise HomeportError(f"{' '.join(argv[:4])} … ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.stdout if done.stdout.strip() else done.stderr
