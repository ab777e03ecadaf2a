"""What the benches of the registry share: a large model, commands with their cost, and the peers beside us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_registry import models
from model_registry.core.digest import Digest
from model_registry.packing import check_folder
from model_registry.sources import file_pieces, open_source
from tests.bench.harness import KEPT, ROOT
from tests.fakes.model import NAME, contract, make_model, write_contract

MIB = 1 << 20
_LOOK_S = 0.02
PEERS = ROOT / "requirements" / "bench.txt"
_ORAS = """
import sys, oras.client
verb, target, place = sys.argv[1:]
client = oras.client.OrasClient(insecure=True, tls_verify=False)
if verb == "pull":
    client.pull(target=target, outdir=place, overwrite=True)
else:
    client.push(target=target, files=sorted(sys.argv[3:]), disable_path_validation=True)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the clock and of processors, and its largest memory in MB."""

    seconds: float
    cpu_s: float
    rss_mb: float


def measured(argv: Sequence[str]) -> Cost:
    """Run a command to its end. Raises CalledProcessError."""
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        largest_kb, ended = 0, 0
        while not ended:
            largest_kb = max(largest_kb, _largest_kb(process.pid))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0 if ended else _LOOK_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(argv), stderr=errors.read())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began_s, cpu_s, largest_kb / 1000)


def _largest_kb(pid: int) -> int:
    """The most memory of a program so far. What wait4 says counts the interpreter that it was forked from."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def homeport(*words: str) -> list[str]:
    return [sys.executable, "-m", "model_registry.cli", *words]


def large_model(
    folder: Path, size: int, files: int = 6, seed: str = "a", version: str = "1.0.0"
) -> tuple[Path, Digest]:
    """A model of `files` random files of `size` bytes together, in an OCI layout; the layout and its digest."""
    model = make_model(folder / f"model-{version}", version=version)
    for number in range(files):
        with (model / f"weights-{number}.safetensors").open("wb") as file:
            for _ in range(size // files // MIB):
                file.write(os.urandom(MIB))
    write_contract(model, contract(model, version, "diff_drive"))
    written, sizes = check_folder(model)
    manifest, config = models.build(written, sizes)
    layout = folder / "layout"
    source = open_source(f"oci:{layout}", writable=True)
    source.put_blob(NAME, manifest.config, lambda: (config,))
    for path, layer in models.files_of(manifest, NAME).items():
        source.put_blob(NAME, layer, lambda path=path: file_pieces(model / path))  # type: ignore[misc]
    source.put_manifest(NAME, manifest.bytes(), version)
    shutil.rmtree(model)
    return layout, Digest.of(manifest.bytes())


def work_folder(name: str) -> Path:
    """An empty folder on the disk that benches use, which is no memory file system."""
    folder = KEPT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def oras(*words: str) -> list[str]:
    """oras-py in an environment of its own, made from requirements/bench.txt when it is not there."""
    place = ROOT / "build" / "peers"
    python = place / "bin" / "python"
    if not (place / "made").exists():
        venv.create(place, with_pip=True, clear=True)
        argv = [str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(PEERS)]
        subprocess.run(argv, check=True)
        (place / "made").write_text(json.dumps({"from": str(PEERS.name)}))
    return [str(python), "-c", _ORAS, *words]


def has(*programs: str) -> bool:
    return all(shutil.which(program) for program in programs)
