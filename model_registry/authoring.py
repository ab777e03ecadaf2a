"""Model folders on a desk: a person writes `vla.toml`, and what is packed is the `vla.json` that follows from it.

`vla.toml` has the fields of `vla.json` without `files`: every file of the folder is hashed when it is read. What is not
known yet is the string "?". Folders that programs made have a `vla.json` only. The folder itself is never changed.

    found = read_folder(folder)      its contract, digest and size of every file
    found.made                       the documents that are packed and lie in no file: vla.json, and those of variants
    unknowns(folder)                 one sentence for each "?" of its vla.toml

pack, verify, check, show, diff and plan all read a folder here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract, contract_text
from model_registry.core.contract.actions import RELATIVES, SPACES, UNITS
from model_registry.core.contract.cameras import ANCHORS, FITS, RESIZES
from model_registry.core.contract.graphs import METHODS, PREDICTIONS
from model_registry.core.contract.observation import NORMALISATIONS, PARTS
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import RefusedError, UsageError
from model_registry.core.paths import check_path
from model_registry.core.toml import load_toml
from model_registry.inspection.findings import together
from model_registry.models import MANIFEST_NAME

AUTHORED = "vla.toml"
UNKNOWN = "?"
Sizes = dict[str, tuple[Digest, int]]

_WHAT_TO_WRITE = (
    (r"name", "the model's name, such as yard/pilot"),
    (r"version", "its version, such as 1.0.0"),
    (r"embodiment", "the kind of body as robot.toml calls it"),
    (r"licence", "the licence of its weights, such as Apache-2.0"),
    (r"action\.space", f"one of {', '.join(SPACES)}"),
    (r"action\.relative", f"one of {', '.join(RELATIVES)}"),
    (r"action\.dims\[\d+\]\.name", "what it moves: linear_x and angular_z of a base, or the joint's name"),
    (r"action\.dims\[\d+\]\.unit", f"one of {', '.join(UNITS)}"),
    (r"action\.dims\[\d+\]\.(min|max)", "the end of the range that may be commanded, in the dimension's unit"),
    (r"action\.horizon", "how many actions one inference gives"),
    (r"action\.execute_steps", "how many of them are carried out before the next chunk takes over"),
    (r"action\.control_hz", "how many actions are carried out in a second: the rate of the recorded data"),
    (r"(action|observation\.state)\.normalise", f"one of {', '.join(NORMALISATIONS)}"),
    (r"observation\.state\.parts\[\d+\]\.of", f"one of {', '.join(PARTS)}"),
    (r"observation\.state\.parts\[\d+\]\.names.*", "the joints by name, in the order of the network's input"),
    (r"observation\.state\.parts\[\d+\]\.unit", "the unit of these numbers, such as rad, deg or percent"),
    (r".*\.every_s", "the seconds between two frames"),
    (r".*\.frames", "which frames, oldest first, such as [-1, 0]"),
    (r".*\.fit", f"one of {', '.join(FITS)}"),
    (r".*\.anchor", f"one of {', '.join(ANCHORS)}"),
    (r".*\.resize", f"one of {', '.join(RESIZES)}"),
    (r".*\.color", "RGB, BGR or GRAY"),
    (r".*\.(width|height)", "the pixels that the network takes"),
    (r".*\.divisor", "what levels of 0 to 255 are divided by: 255.0, or 1.0 where they stay"),
    (r".*\.(mean|std)", "one number for each channel, or leave both lines away"),
    (r"observation\.text\.tokenizer", "the tokenizer's file in this folder, such as tokenizer.json"),
    (r"observation\.text\.length", "how many tokens the network takes"),
    (r"observation\.text\.pad_id", "the number of the token that fills up"),
    (r"observation\.text\.pad_side", "right or left"),
    (r"observation\.text\.template", '"{text}", or what stood around the words in training, such as "{text}\\n"'),
    (r"observation\.text\.closed", "true where words that the tokenizer does not know must move nothing, or false"),
    (r"observation\.lidar\.max_range_m", "the range in m that becomes 1"),
    (r"graphs\[\d+\]\.inputs\..*", "what fills it: cameras.NAME, goal, state, text, text.mask, lidar, noise, prefix, "
     "delay, GRAPH.TENSOR of an earlier graph, or x or time of the loop"),
    (r"graphs\[\d+\].*", "the graph's own, or let `homeport model export` write this part"),
    (r"loop\.method", f"one of {', '.join(METHODS)}"),
    (r"loop\.prediction", f"one of {', '.join(PREDICTIONS)}"),
    (r"loop\.times", "the times of the loop in order, such as [1.0, 0.5, 0.0]"),
    (r"loop\.alphas", "the scheduler's cumulative products of 1 - beta at these times, and one more"),
    (r"output\.from", "GRAPH.TENSOR, or x of the loop"),
    (r"goldens\[\d+\]\.path", "an .npz file of raw observations and the actions they must give"),
    (r"goldens\[\d+\]\.tolerance.*", "the largest difference that is right, in the dimension's unit"),
)  # fmt: skip


@dataclass(frozen=True)
class ModelFolder:
    """A model folder as it would be packed: `files` are digest and size in bytes of each file, vla.json among them."""

    path: Path
    contract: Contract
    files: Sizes
    made: Mapping[str, bytes]


def read_folder(folder: Path) -> ModelFolder:
    """Read and hash a model folder. Raises HomeportError; changes nothing."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; name the folder that holds {AUTHORED} or {FILE_NAME}")
    _refuse_what_is_no_file(folder)
    if refusals := unknowns(folder):
        raise RefusedError(together(folder, refusals))
    made = {path: contract_text(document) for path, document in _written(folder, "").items()}
    if FILE_NAME in made:
        contract = Contract.read(Reader(parse(made[FILE_NAME], AUTHORED), AUTHORED))
    else:
        contract = Contract.load(folder)
        contract.check_files(folder)
    files = {path: (digest, _size(folder, path, made)) for path, digest in contract.files.items()}
    own = made.get(FILE_NAME) or (folder / FILE_NAME).read_bytes()
    files[FILE_NAME] = (Digest.of(own), len(own))
    return ModelFolder(folder, contract, files, made)


def unknowns(folder: Path) -> list[str]:
    """One sentence for each "?" in the vla.toml of a folder and of its variants; none where there is no vla.toml."""
    found = []
    for path in sorted(folder.rglob(AUTHORED)):
        place = path.relative_to(folder).as_posix()
        for key, value in _leaves(load_toml(path), ""):
            if value == UNKNOWN:
                found.append(f'{place}.{key}: is not known yet ("{UNKNOWN}"); write {_what_to_write(key)}')
    return found


def _what_to_write(key: str) -> str:
    return next((words for pattern, words in _WHAT_TO_WRITE if re.fullmatch(pattern, key)), "its value")


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Every value of a document that holds no other, with the keys that lead there."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, value


def _written(folder: Path, prefix: str) -> dict[str, dict[str, object]]:
    """The vla.json of a folder that has a vla.toml, by its path, and before it those of its variants."""
    if not (folder / AUTHORED).is_file():
        return {}
    document = load_toml(folder / AUTHORED)
    place = f"{prefix}{AUTHORED}"
    if "files" in document:
        raise UsageError(f"{place}.files: digests are computed by `homeport model pack`; remove this part")
    for key, value in _leaves(document, ""):
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise UsageError(f"{place}.{key}: {value} is nothing that {FILE_NAME} can hold; write a finite number")
    made: dict[str, dict[str, object]] = {}
    variants = document.get("variants", [])
    for name in variants if isinstance(variants, list) else []:
        made |= _written(folder / check_path(str(name), f"{place}.variants"), f"{prefix}{name}/")
    inner = {path.removeprefix(prefix): Digest.of(contract_text(made[path])) for path in made}
    digests = {path: Digest.of_file(folder / path) for path in _files_of(folder) if path not in inner} | inner
    document["files"] = {path: str(digest) for path, digest in sorted(digests.items())}
    made[f"{prefix}{FILE_NAME}"] = document
    return made


def _files_of(folder: Path) -> list[str]:
    """What is packed of a folder with a vla.toml, without documents that are made anew."""
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in found:
        if any(part.startswith(".") for part in path.split("/")):
            raise RefusedError(f"{folder / path}: is a hidden file, and all files of a model are packed; move it away")
    return [path for path in found if path not in (FILE_NAME, MANIFEST_NAME) and Path(path).name != AUTHORED]


def _refuse_what_is_no_file(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RefusedError(f"{path}: not a plain file; a model carries real files only, copy it there")
        if path.is_file() and relative != MANIFEST_NAME and path.name != AUTHORED:
            check_path(relative, str(folder))


def _size(folder: Path, path: str, made: Mapping[str, bytes]) -> int:
    return len(made[path]) if path in made else (folder / path).stat().st_size
