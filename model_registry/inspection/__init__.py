"""A model is looked into before it is signed, on the desk of its publisher.

What a robot would refuse is refused here, where somebody can export the model again: robots would only say so one by
one, after the release was signed and rolled out. Nothing of the model is run.

    inspect(folder, contract)   what packing has to change in the folder's files; RefusedError with all that is wrong

The checks, one module each:

    pointers   files that Git LFS or Xet left in the place of the real ones
    graphs     each graph can be read, and its ends are those that the contract names (core/axes.py)
    runtime    opset, IR version and operators are those of the oldest ONNX Runtime on robots
    tensors    weights are there, whole, and inside the model
    vectors    goldens and calibration data can be read, and are not larger than a robot unpacks
    words      the tokenizer loads, and statistics name every number that is normalised

The libraries `onnx` and `tokenizers` are imported late, because only a publisher's machine has to have them.
A `Contract` is all that this package knows of vla.json.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract, contract_text
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.inspection.findings import Findings, together
from model_registry.inspection.pointers import check_pointers
from model_registry.inspection.vectors import check_vectors
from model_registry.inspection.words import check_statistics, check_tokenizer

_LIBRARIES = ("onnx", "tokenizers")


@dataclass(frozen=True)
class Inspection:
    """`changed`: path → the bytes to pack in place of the file's own; `notes`: one sentence for each change."""

    changed: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def inspect(folder: Path, contract: Contract, made: Mapping[str, bytes] | None = None) -> Inspection:
    """Look into every file of a model folder whose digests were checked. Reads only.

    `made` are the vla.json, by their paths, that stand in the place of those in the folder.

    Raises RefusedError that names everything that is wrong, and HomeportError where a library is missing here.
    """
    findings = Findings(documents=made or {})
    changed = look(folder, contract, findings)
    if findings.refusals:
        raise RefusedError(together(folder, findings.refusals))
    return Inspection(changed, tuple(findings.notes))


def look(folder: Path, contract: Contract, findings: Findings) -> dict[str, bytes]:
    """The same, with all that is wrong in `findings`; path → bytes of what packing changes."""
    _need_libraries()
    return _look(folder, contract, findings)


def _need_libraries() -> None:
    if missing := [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]:
        raise HomeportError(
            f"models are looked into with {' and '.join(missing)} before they are packed, and this Python does not "
            "have it; run pip install 'homeport[controller]', then pack again"
        )


def _look(folder: Path, contract: Contract, findings: Findings) -> dict[str, bytes]:
    """The changed files of a model and of its variants, `vla.json` among them where a digest in it changes."""
    pointers = check_pointers(folder, contract, findings)
    changed: dict[str, bytes] = {}
    for name in contract.variants:
        changed |= _look_into_variant(folder, name, findings)
    from model_registry.inspection.graphs import check_graphs

    changed |= check_graphs(folder, contract, pointers, findings)
    check_tokenizer(folder, contract, pointers, findings)
    check_statistics(folder, contract, pointers, findings)
    check_vectors(folder, contract, pointers, findings)
    if changed:
        changed[FILE_NAME] = _with_digests(_document(folder, findings), changed)
    return changed


def _document(folder: Path, findings: Findings) -> bytes:
    """The vla.json of a model or of a variant, as it is before anything of it changes."""
    made = findings.documents.get(f"{findings.prefix}{FILE_NAME}")
    return (folder / FILE_NAME).read_bytes() if made is None else made


def _look_into_variant(folder: Path, name: str, findings: Findings) -> dict[str, bytes]:
    inner = replace(findings, prefix=f"{findings.prefix}{name}/")
    try:
        if f"{inner.prefix}{FILE_NAME}" in findings.documents:
            contract = Contract.parse(_document(folder / name, inner))
        else:
            contract = Contract.load(folder / name)
            contract.check_files(folder / name)
    except HomeportError as error:
        findings.refuse(name, str(error))
        return {}
    return {f"{name}/{path}": data for path, data in _look(folder / name, contract, inner).items()}


def _with_digests(document: bytes, changed: Mapping[str, bytes]) -> bytes:
    fields = json.loads(document)
    for path, data in changed.items():
        fields["files"][path] = str(Digest.of(data))
    return contract_text(fields)
