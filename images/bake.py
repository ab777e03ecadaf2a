"""Every verb for images: `python -m images.bake --help`. The Makefile's targets call it; `images/README.md` explains.

`plan` decides, `build` (docker) and `resolve` (registries) do. `print` gives the plan to buildx instead: `… print |
docker buildx bake -f -`.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from images import build as builder
from images import lock, platforms, resolve, rootfs, table
from images.plan import REPOSITORY, CheckoutFacts, Target, bake_file, targets
from model_registry.cli.entry import app_of, run
from model_registry.core.errors import DriftError, HomeportError, NotFoundError, RefusedError
from model_registry.core.version import version
from model_registry.images import SBOM, find_image, put_index, put_referrer
from model_registry.inspecting import engine
from model_registry.sources import open_source

ROOT = Path(__file__).parents[1]
SBOM_PATH = "/usr/share/homeport/sbom.spdx.json"
_HERE = {"x86_64": "amd64", "aarch64": "arm64"}
_SCANNERS = {"trivy": ["trivy", "image", "--exit-code", "1"], "grype": ["grype", "--fail-on", "high"]}

app = app_of("Build, push, lock and describe the container images of every row.")
PlatformOption = Annotated[
    str | None, typer.Option("--platform", help="A row of images/platforms.toml; without it, all.")
]
ArchOption = Annotated[str | None, typer.Option("--arch", help="amd64 or arm64; without it, all of the row's.")]
DriftOption = Annotated[
    bool, typer.Option("--allow-drift", help="Push although the mirrors have moved on from the lock.")
]
SourcesOption = Annotated[Path | None, typer.Option("--apt", help="Folder of apt sources for an Ubuntu row.")]
ToOption = Annotated[str, typer.Option("--to", metavar="HOST[:PORT]", help="The registry.")]


def facts() -> CheckoutFacts:
    """Version, commit, its date and where the source is published. A commit is all that goes into an image."""
    shown = subprocess.run(
        ["git", "show", "-s", "--format=%H %ct"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    revision, created = shown.stdout.split() if shown.returncode == 0 else ("unknown", "315532800")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", created))
    return CheckoutFacts(version(), revision, epoch, os.environ.get("HOMEPORT_SOURCE_URL", ""))


def chosen(row: str | None, arch: str | None) -> list[tuple[platforms.Row, str]]:
    """The rows and arches that are meant. Raises UsageError."""
    rows = platforms.read()
    return [
        (each, name)
        for each in (rows.values() if row is None else [platforms.find(rows, row)])
        for name in (each.arches if arch is None else [platforms.check_arch(each, arch)])
    ]


def planned(row: str | None, arch: str | None, registry: str | None = None) -> list[Target]:
    """Targets of what was chosen and is locked; what is not is named on stderr, or an error when it was asked for by
    name.
    """
    known = lock.load()
    result = []
    for each, name in chosen(row, arch):
        try:
            result += targets([each], known, facts(), registry, arches=[name])
        except NotFoundError as error:
            if row is not None:
                raise
            say(f"skipped: {error}")
    return result


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@app.command("print")
def print_plan(
    row: PlatformOption = None,
    arch: ArchOption = None,
    to: Annotated[str | None, typer.Option("--to", help="Plan a push to this registry.")] = None,
) -> None:
    """Print the bake file for `docker buildx bake -f -`; `prepare` fills the contexts it names."""
    typer.echo(json.dumps(bake_file(planned(row, arch, to), to), indent=1))


@app.command()
def prepare(row: PlatformOption = None, arch: ArchOption = None) -> None:
    """Fill build/images/ROW-ARCH with all that the build needs, checked against the lock."""
    for target in planned(row, arch):
        _prepare(target)


def _prepare(target: Target) -> None:
    builder.prepare(target, platforms.read()[target.row], lock.load().entry(target.row, target.arch))


@app.command()
def build(
    row: PlatformOption = None,
    arch: ArchOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build every layer anew.")] = False,
) -> None:
    """Build images with docker; without --arch and with --platform, for this machine's architecture."""
    here = _HERE.get(platform.machine()) if row is not None else None
    for target in planned(row, arch or here):
        _prepare(target)
        typer.echo(f"{target.tags[0]}  {builder.build(target, no_cache=no_cache)}")


@app.command()
def push(
    to: ToOption,
    row: PlatformOption = None,
    arch: ArchOption = None,
    allow_drift: DriftOption = False,
    pushed: Annotated[
        bool, typer.Option("--pushed", help="buildx has pushed the images: only make the index.")
    ] = False,
) -> None:
    """Push each locked arch of a row, an index over them by digest, and each SBOM as a referrer."""
    found = planned(row, arch, to)
    if not allow_drift:
        _refuse_drift({(target.row, target.arch) for target in found})
    plain = to.startswith(("127.0.0.1", "localhost")) and "HOMEPORT_CA_FILE" not in os.environ
    source = open_source(f"{'http' if plain else 'https'}://{to}", writable=True)
    for name in dict.fromkeys(target.row for target in found):
        images = []
        for target in (each for each in found if each.row == name):
            for argv in [] if pushed else push_argvs(target):
                resolve.run(argv)
            images.append(image := find_image(source, REPOSITORY, target.tags[0].partition(":")[2], target.arch))
            if not pushed:
                put_referrer(source, REPOSITORY, image.digest, SBOM, sbom_of(target.tags[0]))
            typer.echo(f"{to}/{REPOSITORY}@{image.digest}  {target.name}")
        typer.echo(f"{to}/{REPOSITORY}@{put_index(source, REPOSITORY, images, f'{version()}-{name}')}  {name}")


def push_argvs(target: Target) -> list[list[str]]:
    local, remote = target.tags
    """The second name is there for the push only."""
    return [
        ["docker", "tag", local, remote],
        ["docker", "push", "--quiet", remote],
        ["docker", "image", "rm", "--no-prune", remote],
    ]


def sbom_of(image: str) -> bytes:
    """The SBOM that is inside an image; the image is never started."""
    with engine() as client:
        container = client.containers.create(image)
        try:
            packed = io.BytesIO(b"".join(container.get_archive(SBOM_PATH)[0]))
        finally:
            container.remove()
    with tarfile.open(fileobj=packed) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read() if file is not None else b""


@app.command()
def size(row: PlatformOption = "cpu", arch: ArchOption = None) -> None:
    """Print where the bytes of built images go."""
    for target in planned(row, arch or _HERE.get(platform.machine())):
        subprocess.run([sys.executable, "-m", "model_registry.cli", "image", "inspect", target.tags[0]], check=False)


@app.command()
def scan(row: PlatformOption = "cpu", arch: ArchOption = None) -> None:
    """Look for known weaknesses with trivy or grype, whichever is installed."""
    found = next((argv for name, argv in _SCANNERS.items() if shutil.which(name)), None)
    if found is None:
        raise RefusedError("no scanner here: install trivy or grype, then run `make scan` again")
    for target in planned(row, arch or _HERE.get(platform.machine())):
        if subprocess.run([*found, target.tags[0]], check=False).returncode:
            raise HomeportError(f"{target.tags[0]}: the scanner reports weaknesses; update with `make lock`")


@app.command("lock")
def lock_rows(row: PlatformOption = "cpu", arch: ArchOption = None, apt: SourcesOption = None) -> None:
    """Resolve rows anew into images/lock.json."""
    for each, name in chosen(row, arch):
        say(f"Resolving {each.name}/{name}")
        lock.save(lock.load().with_entry(each.name, name, resolve.entry(each, name, apt)))


@app.command("lock-check")
def lock_check(row: PlatformOption = None, arch: ArchOption = None) -> None:
    """Print what the mirrors have otherwise than the lock; exit 3 when there is any."""
    known = lock.load()
    typer.echo(lock.UNCOVERED)
    _refuse_drift({(each.name, name) for each, name in chosen(row, arch) if f"{each.name}/{name}" in known.entries})


def _refuse_drift(names: Iterable[tuple[str, str]]) -> None:
    rows = platforms.read()
    known = lock.load()
    lines = []
    for row, arch in sorted(names):
        lines += [f"{row}/{arch}: {line}" for line in _drift(rows[row], arch, known.entry(row, arch))]
    typer.echo("\n".join(lines) if lines else "The mirrors have what the lock names.")
    if lines:
        raise DriftError(f"{len(lines)} differences from images/lock.json; run `make lock`, review it and commit it")


def _drift(row: platforms.Row, arch: str, locked: lock.LockEntry) -> list[str]:
    """For a Debian row what the mirrors would install today; for the others where the base's tag points today."""
    if row.debian:
        return rootfs.drift(resolve.packages(row, arch), locked.packages)
    return rootfs.drift({row.base: resolve.base_digest(row.base, arch)}, {locked.base: locked.base_digest})


@app.command("table")
def write_table() -> None:
    """Write the rows into README.md, between their markers."""
    readme = ROOT / "README.md"
    readme.write_text(table.replaced(readme.read_text(), platforms.read(), lock.load()))


@app.command("row")
def show_row(l4t: Annotated[str, typer.Option("--l4t", help="As /etc/nv_tegra_release names it: 36.4.3.")]) -> None:
    """Print which row fits an L4T release exactly."""
    typer.echo(platforms.find_l4t(platforms.read(), l4t).name)


if __name__ == "__main__":
    raise SystemExit(run(app, sys.argv[1:]))
