"""Proves the engine of one release on this device and records the verdict beside it: `gate.json`, then `ready`."""

from __future__ import annotations

from pathlib import Path

from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError, NotFoundError, UsageError
from model_registry.core.files import Files
from stack.engine.builder import GATE_FILE, READY_FILE, Built, Plan, check
from stack.engine.gates import Result, prove, read_goldens, refused
from stack.engine.normalization import Normalization


def prove_engine(what: Plan, folder: Path, files: Files) -> Result:
    """Run the gate and write its result. `ready` comes last, and only when healthy.

    An engine that is ready stays ready: the release that drives may be using it, and a busy minute is no reason to stop that robot.
    """
    result = _run(what, folder)
    if result.healthy or not (folder / READY_FILE).exists():
        files.write(folder / GATE_FILE, dump(result.to_dict()))
    if result.healthy:
        files.write(folder / READY_FILE, b"")
    return result


def _run(what: Plan, folder: Path) -> Result:
    recipe = what.release.recipe
    backend = what.choice.kind.open(recipe.precision)
    try:
        what.contract.check_files(what.model)
        samples = list(read_goldens(what.model, what.contract, recipe.precision))
        if not samples:
            raise UsageError(f"{what.model}: its goldens are empty; add at least one")
        units = Normalization.load(what.model, what.contract)
        backend.load(folder, what.contract)
        return prove(backend, samples, what.contract, units, recipe)
    except HomeportError as error:
        return refused(error)
    finally:
        backend.close()


def link(what: Plan, folder: Path, built: Built, result: Result | None, files: Files) -> None:
    """Point the release folder at its engine, and leave the verdict there."""
    files.link(folder / "engine", f"../../engines/{built.key}")
    if result is not None:
        files.write(folder / "prove.json", dump(result.to_dict()))


def existing(what: Plan, engines: Path) -> Built:
    """The engine that is already there. Raises NotFoundError or IntegrityError."""
    folder = engines / what.key
    if not folder.exists():
        raise NotFoundError(f"{folder}: no such engine; build it first")
    return Built(what.key, folder, False, 0.0, check(folder, what.key))
