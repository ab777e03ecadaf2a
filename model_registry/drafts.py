"""The file a person writes to make a release: tags and paths, which publishing turns into digests. Paths start at the file's own folder.

name = "pilot"                      # published as releases/pilot
version = "1.0.0"
counter = 1                         # only rises
minimum_counter = 0                 # robots refuse releases below it from now on
[model]
ref = "models/pilot:1.0.0"
[engine]
backends = ["onnxruntime"]
precision = "fp32"
budget = { inference_p99_ms = 40.0, peak_memory_bytes = 1_500_000_000 }
[config]
profile = "resource_optimized"
overrides = {}
[compatibility]
rows = ["process"]
l4t = []
embodiment = "diff_drive"
supervisor_protocol = 1
minimum_agent = "0.1.0"
[[image]]                           # other rows: repository, digest and config_digest instead
row_arch = "process/amd64"
wheel = "dist/homeport-0.1.0-py3-none-any.whl"
lock = "requirements/robot.txt"
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from model_registry.core.release import check_name, check_version
from model_registry.core.toml import read_toml
from model_registry.refs import Reference

PROCESS = "process/"


@dataclass(frozen=True)
class DraftImage:
    """What one row and architecture runs: a wheel and its lock file (row `process`), or a container image by digest."""

    wheel: Path | None
    lock: Path | None
    repository: str | None
    digest: Digest | None
    config_digest: Digest | None

    @classmethod
    def read(cls, reader: Reader, folder: Path) -> DraftImage:
        def path(key: str) -> Path | None:
            return folder / reader.text(key) if reader.has(key) else None

        def digest(key: str) -> Digest | None:
            return reader.digest(key) if reader.has(key) else None

        repository = reader.text("repository") if reader.has("repository") else None
        image = cls(path("wheel"), path("lock"), repository, digest("digest"), digest("config_digest"))
        reader.done()
        return image

    def check(self, row_arch: str) -> None:
        """Raises UsageError when this is not all that its row needs, and nothing else."""
        container = (self.repository, self.digest, self.config_digest)
        if row_arch.startswith(PROCESS):
            if self.wheel is None or self.lock is None or any(container):
                raise UsageError(
                    f"image {row_arch}: expected exactly wheel and lock; give them in the file or with --wheel and --lock"
                )
        elif not all(container) or self.wheel is not None or self.lock is not None:
            raise UsageError(f"image {row_arch}: expected exactly repository, digest and config_digest")


@dataclass(frozen=True)
class Draft:
    """A parsed release.toml. `sections` are copied into the document as they stand: engine, config, compatibility."""

    name: str
    version: str
    counter: int
    minimum_counter: int
    model: Reference
    images: dict[str, DraftImage]
    sections: dict[str, object]

    @classmethod
    def load(cls, path: Path) -> Draft:
        """Read release.toml; paths in it start at its own folder. Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
        model = reader.child("model")
        images: dict[str, DraftImage] = {}

        def image(value: object, where: str) -> None:
            entry = Reader(value, where)
            row_arch = entry.text("row_arch")
            if row_arch in images:
                raise UsageError(f"{where}.row_arch: {row_arch} comes twice")
            images[row_arch] = DraftImage.read(entry, path.parent)

        reader.items("image", image)
        draft = cls(
            name=check_name(reader.text("name"), f"{path.name}.name"),
            version=check_version(reader.text("version"), f"{path.name}.version"),
            counter=reader.integer("counter", 1),
            minimum_counter=reader.integer("minimum_counter"),
            model=Reference.parse(model.text("ref")),
            images=images,
            sections={key: reader.mapping(key) for key in ("engine", "config", "compatibility")},
        )
        model.done()
        reader.done()
        return draft

    def changed(
        self,
        version: str | None = None,
        counter: int | None = None,
        model: str | None = None,
        wheel: Path | None = None,
        lock: Path | None = None,
    ) -> Draft:
        """The draft with what the command line says instead; `wheel` and `lock` go to every row `process`."""
        images = {
            row: replace(image, wheel=wheel or image.wheel, lock=lock or image.lock)
            if row.startswith(PROCESS)
            else image
            for row, image in self.images.items()
        }
        return replace(
            self,
            version=self.version if version is None else check_version(version, "--version"),
            counter=self.counter if counter is None else counter,
            model=self.model if model is None else Reference.parse(model),
            images=images,
        )
