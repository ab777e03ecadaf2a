"""Put a complete release into a robot's folder without an agent, a registry or a signature."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.files import Files
from model_registry.core.gate import Check, GateResult
from model_registry.core.layout import Layout
from model_registry.core.release import payload
from stack.engine import builder, variants

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def release_fields(model: Digest, version: str = "1.0.0") -> dict[str, object]:
    """The fields of a release document with generous budgets; change them and give them to `stage`."""
    major, minor, patch = (int(part) for part in version.split("-")[0].split("."))
    image = {"repository": "homeport/stack", "digest": str(Digest.of(version.encode())), "config_digest": None}
    return {
        "schema": 1,
        "name": "homeport/demo",
        "version": version,
        "counter": 1 + major * 10_000 + minor * 100 + patch,
        "minimum_counter": 0,
        "images": {f"process/{ARCH}": {**image, "lock": str(Digest.of(b"lock"))}},
        "model": {"repository": "homeport/pilot", "digest": str(model)},
        "engine": {
            "backends": ["onnxruntime"],
            "precision": "fp32",
            "budget": {"inference_p99_ms": 250.0, "peak_memory_bytes": 8 << 30},
        },
        "config": {"profile": "resource_optimized", "overrides": {}},
        "compatibility": {
            "rows": ["process"],
            "l4t": [],
            "embodiment": "mobile_base",
            "supervisor_protocol": 1,
            "minimum_agent": "0.1.0",
        },
    }


def add_model(root: Path, model: Path) -> Digest:
    """Copy a model folder to `models/<hex>/`, as a pull leaves it. Its digest is that of a stand-in manifest."""
    manifest = dump({"vla": str(Digest.of_file(model / "vla.json"))})
    digest = Digest.of(manifest)
    target = Layout.at(root).model(digest)
    if not target.exists():
        shutil.copytree(model, target)
        (target / "manifest.json").write_bytes(manifest)
    return digest


def stage(root: Path, fields: dict[str, object], model: Digest) -> Path:
    """Write `releases/<hex>/` with release.json and its model link, and return the folder."""
    data = payload(fields)
    folder = Layout.at(root).release(Digest.of(data)).path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "release.json").write_bytes(data)
    Files().link(folder / "model", f"../../models/{model.hex}")
    return folder


def build_engine(root: Path, folder: Path) -> GateResult:
    """Build, prove and link the engine of a staged release."""
    files, engines = Files(), Layout.at(root).engines
    what = builder.plan(folder)
    with builder.lock(engines):
        built = builder.build(what, engines, files)
        result = builder.prove(what, built.folder, files)
        assert all(passed for _, passed in variants.build(what, built.folder, files))
        builder.link(folder, built, result, files)
    return result


def take_as_proved(root: Path, folder: Path) -> None:
    """Build and link an engine, and believe that it is good: proving a backend of 300 ms takes half a minute."""
    files, what = Files(), builder.plan(folder)
    built = builder.build(what, Layout.at(root).engines, files)
    files.write(built.folder / builder.READY_FILE, b"")
    believed = Check("believed", None, None, True, "taken as proved")
    builder.link(folder, built, GateResult.of("prove", [believed]), files)


def put_in_slot(root: Path, digest: Digest, slot: str) -> None:
    link = Layout.at(root).slot(slot)
    link.parent.mkdir(parents=True, exist_ok=True)
    Files().link(link, f"../releases/{digest.hex}")


def make_release(root: Path, model: Path, version: str = "1.0.0", slot: str = "a") -> Digest:
    """Make a release of the model folder `model` with its engine built and proved, put it in `slot`, and return its
    digest.
    """
    name = add_model(root, model)
    folder = stage(root, release_fields(name, version), name)
    result = build_engine(root, folder)
    assert result.passed, result.document()
    digest = Digest(folder.name)
    put_in_slot(root, digest, slot)
    return digest


def remove_run_folder(root: Path) -> None:
    """Delete the short run folder that belongs to `root`, below the system's temporary folder."""
    run = Layout.at(root).run
    if run.parts[1] == "tmp" and run.name.startswith(f"homeport-{os.getuid()}-"):
        shutil.rmtree(run, ignore_errors=True)
