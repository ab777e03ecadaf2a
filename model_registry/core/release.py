"""The release document: image + model + engine recipe + config, pinned by digest.

Its identity is the sha256 of its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_COUNTER, Reader, as_text, dump, parse
from model_registry.core.errors import IncompatibleError, UsageError

LABEL = "dev.homeport."
"""What the labels of our container images begin with."""
PAYLOAD_TYPE = "application/vnd.homeport.release.v1+json"
PROFILES = ("optimized", "hardware_accelerated", "resource_optimized", "safe_production")
BACKENDS = ("onnxruntime", "tensorrt", "torch_tensorrt", "torch", "null")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")

_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?")
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_ROW_ARCH = re.compile(r"[a-z0-9-]+/(amd64|arm64)")


def check_version(text: str, path: str) -> str:
    """Semantic version without build metadata. Raises UsageError."""
    if len(text) > 64 or not _VERSION.fullmatch(text):
        raise UsageError(f"{path}: expected a version such as 1.4.2, got {text!r}")
    return text


def check_name(text: str, path: str) -> str:
    """OCI repository name. Raises UsageError."""
    if len(text) > 200 or not _NAME.fullmatch(text):
        raise UsageError(f"{path}: expected a repository name such as models/pilot, got {text!r}")
    return text


def version_key(version: str) -> tuple[int, int, int]:
    """The numbers of a version, for comparing."""
    major, minor, patch = check_version(version, "version").split("-")[0].split(".")
    return int(major), int(minor), int(patch)


@dataclass(frozen=True)
class ReleaseImage:
    """What runs on one row and architecture.

    Row `process`: `digest` is the wheel's sha256, `lock` the sha256 of the dependency lock file.
    """

    repository: str
    digest: Digest
    config_digest: Digest | None
    lock: Digest | None

    @classmethod
    def read(cls, value: object, path: str) -> ReleaseImage:
        reader = Reader(value, path)
        image = cls(
            check_name(reader.text("repository"), f"{path}.repository"),
            reader.digest("digest"),
            reader.digest("config_digest") if reader.has("config_digest") else None,
            reader.digest("lock") if reader.has("lock") else None,
        )
        reader.done()
        return image


@dataclass(frozen=True)
class Recipe:
    """How the engine is built, and what it may cost: milliseconds, bytes.

    `latency_rise` is by which part its median inference may be slower than that of the release beside it on the same
    robot; None: within the budget it may be as slow as it likes.
    """

    backends: tuple[str, ...]
    precision: str
    inference_p99_ms: float
    peak_memory_bytes: int
    latency_rise: float | None = None

    @classmethod
    def read(cls, reader: Reader) -> Recipe:
        budget = reader.child("budget")
        recipe = cls(
            reader.texts("backends"),
            reader.text("precision", PRECISIONS),
            budget.number("inference_p99_ms", 0.001),
            budget.integer("peak_memory_bytes", 1),
            budget.number("latency_rise", 0.0, 10.0) if budget.has("latency_rise") else None,
        )
        if not recipe.backends or set(recipe.backends) - set(BACKENDS):
            raise UsageError(
                f"{reader.path}.backends: expected one or more of {', '.join(BACKENDS)}, got {list(recipe.backends)}"
            )
        return recipe


@dataclass(frozen=True)
class Compatibility:
    """Where a release may run."""

    rows: tuple[str, ...]
    l4t: tuple[str, ...]
    embodiment: str
    supervisor_protocol: int
    minimum_agent: str

    @classmethod
    def read(cls, reader: Reader) -> Compatibility:
        return cls(
            reader.texts("rows"),
            reader.texts("l4t"),
            reader.text("embodiment"),
            reader.integer("supervisor_protocol", 1),
            check_version(reader.text("minimum_agent"), f"{reader.path}.minimum_agent"),
        )


@dataclass(frozen=True)
class StateSchema:
    """What a release leaves on a robot; 0 is nothing.

    The schema that it writes, and the oldest schema whose releases can still read that.
    """

    schema: int = 0
    readable_from: int = 0

    @classmethod
    def read(cls, reader: Reader) -> StateSchema:
        state = cls(reader.integer("schema", 1), reader.integer("readable_from"))
        if state.readable_from > state.schema:
            raise UsageError(f"{reader.path}.readable_from: expected at most schema, which is {state.schema}")
        return state


@dataclass(frozen=True)
class Release:
    """A parsed release document; `digest` is the sha256 of the bytes it was parsed from."""

    digest: Digest
    name: str
    version: str
    counter: int
    minimum_counter: int
    images: dict[str, ReleaseImage]
    model_repository: str
    model: Digest
    recipe: Recipe
    profile: str
    overrides: dict[str, float | str | bool]
    compatibility: Compatibility
    state: StateSchema

    @classmethod
    def parse(cls, payload: bytes) -> Release:
        """Read the exact bytes that were signed. Raises UsageError naming the field."""
        reader = Reader(parse(payload, "release", 65_536), "release")
        reader.schema()
        model = reader.child("model")
        config = reader.child("config")
        release = cls(
            digest=Digest.of(payload),
            name=check_name(reader.text("name"), "release.name"),
            version=check_version(reader.text("version"), "release.version"),
            counter=reader.integer("counter", 1, MAX_COUNTER),
            minimum_counter=reader.integer("minimum_counter", 0, MAX_COUNTER),
            images=reader.table("images", ReleaseImage.read),
            model_repository=check_name(model.text("repository"), "release.model.repository"),
            model=model.digest("digest"),
            recipe=Recipe.read(reader.child("engine")),
            profile=config.text("profile", PROFILES),
            overrides=config.table("overrides", _override),
            compatibility=Compatibility.read(reader.child("compatibility")),
            state=StateSchema.read(reader.child("state")) if reader.has("state") else StateSchema(),
        )
        reader.done()
        for key in release.images:
            if not _ROW_ARCH.fullmatch(key):
                raise UsageError(f"release.images: expected row/amd64 or row/arm64, got {key!r}")
        return release


def _override(value: object, path: str) -> float | str | bool:
    if isinstance(value, (bool, int, float)):
        return value
    return as_text(value, path)


def misfit(
    labels: Mapping[str, str], architecture: str, arch: str, row: str | None = None, l4t: str | None = None
) -> str | None:  # fmt: skip
    """Why a container image does not run on a robot of this row, architecture and exact L4T; None when it does.

    A row or L4T that is None is not compared.
    """
    made_row = labels.get(f"{LABEL}row")
    if made_row is None:
        return f"it has no label {LABEL}row, so it is no image of Homeport"
    if labels.get(f"{LABEL}arch", architecture) != architecture:
        return f"its label says {labels[f'{LABEL}arch']}, and it holds {architecture}; build it again"
    if architecture != arch or row not in (None, made_row):
        wanted = arch if row is None else f"{row}/{arch}"
        return f"it was made for {made_row}/{architecture}, and {wanted} is needed; take the image of that row"
    if l4t is not None and l4t not in (known := image_l4t(labels)):
        return f"it was made for L4T {', '.join(known) or 'none'}, and L4T {l4t} is needed; take an image made for it"
    return None


def check_image(
    what: str, labels: Mapping[str, str], architecture: str, row_arch: str, l4t: str | None = None
) -> None:  # fmt: skip
    """Raises IncompatibleError, which begins with `what`, for an image that was not made for this row and L4T."""
    row, _, arch = row_arch.rpartition("/")
    if (reason := misfit(labels, architecture, arch, row, l4t)) is not None:
        raise IncompatibleError(f"{what}: {reason}")


def image_l4t(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The exact L4T versions an image was made for; empty where there are none."""
    return tuple(labels.get(f"{LABEL}l4t", "").replace(",", " ").split())


def payload(fields: dict[str, object]) -> bytes:
    """Canonical bytes of a release document, checked by reading them back."""
    try:
        data = dump(fields)
    except (TypeError, ValueError) as error:
        raise UsageError(f"release: not what a release can hold ({error})") from error
    Release.parse(data)
    return data
