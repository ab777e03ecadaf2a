"""A model in words: what it sees, which graphs run when, what it commands, and what proves it.

Every line begins with a heading or with blanks, so that a terminal shows the parts one below the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_registry.core.contract import Contract
from model_registry.core.contract.cameras import CameraRecipe, TensorType
from model_registry.core.contract.graphs import Graph, Loop
from model_registry.core.contract.observation import StateRecipe, TextRecipe
from model_registry.reading import FoundModel

Row = tuple[str, str]
_OFTEN = {"command": "once a command", "frame": "once a frame", "step": "once a step of the loop"}


def describe(found: FoundModel) -> list[tuple[str, list[Row]]]:
    """Headings, each with rows of a name and what is said of it."""
    contract = found.contract
    digest = "not packed yet" if found.digest is None else str(found.digest)
    about = [("digest", digest), ("licence", contract.licence), ("made for", contract.embodiment)]
    return [
        (f"{contract.name} {contract.version}", about),
        ("sees", list(_seen(contract))),
        ("runs", list(_run(contract))),
        ("commands", list(_commanded(contract))),
        ("is proved by", list(_proved(contract))),
        ("files", list(_files(found))),
    ]


def _seen(contract: Contract) -> Iterator[Row]:
    recipes = contract.observation
    for name, camera in recipes.cameras.items():
        yield f"camera {name}", _camera(camera)
    if recipes.goal is not None:
        yield "goal", _camera(recipes.goal)
    if recipes.state is not None:
        yield "state", _state(recipes.state)
    if recipes.text is not None:
        yield "words", _text(recipes.text)
    if recipes.lidar is not None:
        yield "lidar", f"{recipes.lidar.sectors} sectors, up to {recipes.lidar.max_range_m:g} m"
    if recipes.noise is not None:
        yield "noise", f"{tensor_text(recipes.noise.tensor)}, from the release and the frame"
    if recipes.prefix:
        yield "prefix", f"the next {recipes.prefix} actions that were still to come"
    if recipes.delay:
        yield "delay", "how many of them will have been executed when the answer is ready"


def tensor_text(tensor: TensorType) -> str:
    """Such as float32 [1, 3, 224, 224]."""
    return f"{tensor.dtype} {list(tensor.shape)}"


def _camera(recipe: CameraRecipe) -> str:
    size = f"{recipe.width}x{recipe.height} {recipe.color}"
    anchor = "" if recipe.fit == "stretch" else f" {recipe.anchor}, pad {recipe.pad}"
    fit = f"{recipe.fit}{anchor}, resize {recipe.resize}"
    levels = "levels as they are" if recipe.dtype == "uint8" else f"levels/{recipe.divisor:g}"
    if recipe.mean:
        levels += f", mean {_numbers(recipe.mean)}, std {_numbers(recipe.std)}"
    return f"{size}, {fit}, {levels}{_series(recipe.frames, recipe.every_s)}: {tensor_text(recipe.tensor)}"


def _state(recipe: StateRecipe) -> str:
    parts = "; ".join(f"{part.of} {', '.join(part.names)} ({part.unit})" for part in recipe.parts)
    series = _series(recipe.frames, recipe.every_s)
    return f"{parts}, normalise {recipe.normalise}{series}: {tensor_text(recipe.tensor)}"


def _text(recipe: TextRecipe) -> str:
    known = "words it does not know move nothing" if recipe.closed else "any text"
    mask = "" if recipe.mask is None else f", mask {recipe.mask}"
    filled = f"filled with {recipe.pad_id} on the {recipe.pad_side}"
    return f"{recipe.template!r} by {recipe.tokenizer}, {known}, {filled}{mask}: {tensor_text(recipe.tensor)}"


def _series(frames: tuple[int, ...], every_s: float) -> str:
    return "" if len(frames) == 1 else f", frames {list(frames)} every {every_s:g} s"


def _numbers(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)


def _run(contract: Contract) -> Iterator[Row]:
    for graph in contract.graphs:
        yield graph.id, f"{graph.path}, {_OFTEN[graph.runs]}: {_wires(graph)}"
    if contract.loop is not None:
        yield "loop", _loop(contract.loop)


def _wires(graph: Graph) -> str:
    reads = ", ".join(f"{item.name} = {item.source}" for item in graph.inputs)
    gives = ", ".join(f"{item.name} {tensor_text(TensorType(item.dtype, item.shape))}" for item in graph.outputs)
    return f"{reads} -> {gives}"


def _loop(loop: Loop) -> str:
    prediction = f", {loop.v} is {loop.prediction}" if loop.method == "ddim" else ""
    return f"{loop.steps} steps of {loop.method} from {loop.times[0]:g} to {loop.times[-1]:g} by {loop.v}{prediction}"


def _commanded(contract: Contract) -> Iterator[Row]:
    action = contract.action
    relative = "" if action.relative == "no" else f", relative {action.relative}"
    yield "space", f"{action.space}{relative}, normalise {action.normalise}, from {contract.output.source}"
    yield (
        "chunk",
        (
            f"{action.horizon} actions, {action.execute_steps} of them carried out at {action.control_hz:g} Hz "
            f"({action.chunk_s:g} s)"
        ),
    )
    for dim in action.dims:
        yield dim.name, f"{dim.min:g} to {dim.max:g} {dim.unit}"


def _proved(contract: Contract) -> Iterator[Row]:
    yield "goldens", f"{len(contract.goldens)} files: {', '.join(golden.path for golden in contract.goldens)}"
    for precision, limits in tolerances(contract).items():
        dims = zip(contract.action.dims, limits, strict=True)
        yield precision, "within " + ", ".join(f"{limit:g} {dim.unit} of {dim.name}" for dim, limit in dims)


def tolerances(contract: Contract) -> dict[str, tuple[float, ...]]:
    """For each precision that a golden names the smallest tolerance of each dimension."""
    found: dict[str, tuple[float, ...]] = {}
    for golden in contract.goldens:
        for precision, limits in golden.tolerance.items():
            before = found.get(precision, limits)
            found[precision] = tuple(min(pair) for pair in zip(before, limits, strict=True))
    return found


def _files(found: FoundModel) -> Iterator[Row]:
    for path, (digest, size) in sorted(found.files.items()):
        yield path, f"{size:,} bytes, {digest.short}"
    yield "all", f"{found.bytes:,} bytes"
