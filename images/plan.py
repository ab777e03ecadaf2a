"""From rows and lock to what is built: one Target per row and arch, and the bake file for `docker buildx bake -f -`.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from images.lock import Lock, LockEntry
from images.platforms import ARCHES, Row

REPOSITORY = "homeport/stack"
DOCKERFILE = "images/stack.Dockerfile"
SUPERVISOR_PROTOCOL = 1


@dataclass(frozen=True)
class CheckoutFacts:
    """What the checkout adds: `created` is SOURCE_DATE_EPOCH, seconds."""

    version: str
    revision: str
    created: int
    source: str


@dataclass(frozen=True)
class Target:
    """One image: everything `docker build` or buildx needs to know."""

    row: str
    arch: str
    dockerfile: str
    context: str
    platform: str
    args: dict[str, str]
    labels: dict[str, str]
    tags: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.row}-{self.arch}"


def targets(
    rows: Iterable[Row], lock: Lock, facts: CheckoutFacts, registry: str | None = None, arches: Collection[str] = ARCHES
) -> list[Target]:
    """One target per row and arch, in the table's order. Raises NotFoundError for one that is not locked."""
    return [_target(row, arch, lock, facts, registry) for row in rows for arch in row.arches if arch in arches]


def _target(row: Row, arch: str, lock: Lock, facts: CheckoutFacts, registry: str | None) -> Target:
    entry = lock.entry(row.name, arch)
    base = f"{entry.base}@{entry.base_digest}" if entry.base else "scratch"
    ros = row.ros if row.ros_from[arch] != "none" else ""
    tag = f"{REPOSITORY}:{facts.version}-{row.name}-{arch}"
    return Target(
        row=row.name,
        arch=arch,
        dockerfile=DOCKERFILE,
        context=f"build/images/{row.name}-{arch}",
        platform=f"linux/{arch}",
        args={
            "OS": "debian" if row.debian else "ubuntu",
            "BASE": base,
            "ROW": row.name,
            "ARCH": arch,
            "PYTHON": row.python,
            "ROS_DISTRO": ros,
            "SOURCE_DATE_EPOCH": str(facts.created),
        },
        labels=_labels(row, arch, entry, facts) | {"dev.homeport.ros": ros},
        tags=(tag, *([f"{registry}/{tag}"] if registry else [])),
    )


def _labels(row: Row, arch: str, entry: LockEntry, facts: CheckoutFacts) -> dict[str, str]:
    oci = {
        "title": f"Homeport stack, row {row.name}",
        "version": facts.version,
        "revision": facts.revision,
        "created": datetime.fromtimestamp(facts.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": facts.source,
        "licenses": "Apache-2.0",
        "base.name": entry.base or "scratch",
        "base.digest": entry.base_digest,
    }
    ours = {
        "row": row.name,
        "arch": arch,
        "l4t": ",".join(row.l4t),
        "cuda": row.cuda,
        "tensorrt": row.tensorrt,
        "python": row.python,
        "supervisor_protocol": str(SUPERVISOR_PROTOCOL),
    }
    return {f"org.opencontainers.image.{key}": value for key, value in oci.items()} | {
        f"dev.homeport.{key}": value for key, value in ours.items()
    }


def bake_file(planned: Iterable[Target], registry: str | None = None) -> dict[str, object]:
    """The document for `docker buildx bake -f -`: a target per row and arch, a group per row.

    With `registry` each arch is pushed with its SBOM and provenance; the index of a row is made by digest afterwards.
    """
    documents: dict[str, object] = {}
    groups: dict[str, list[str]] = {}
    for target in planned:
        documents[target.name] = {
            "context": target.context,
            "dockerfile": f"{'../' * (target.context.count('/') + 1)}{target.dockerfile}",
            "platforms": [target.platform],
            "args": target.args,
            "labels": target.labels,
            "tags": [tag for tag in target.tags if registry is None or tag.startswith(f"{registry}/")],
            "secret": ["id=ca,src=/etc/ssl/certs/ca-certificates.crt"],
            "network": "none",
            **(_pushed() if registry else {"output": ["type=docker"]}),
        }
        groups.setdefault(target.row, []).append(target.name)
    groups["default"] = list(documents)
    return {"group": {name: {"targets": names} for name, names in groups.items()}, "target": documents}


def _pushed() -> dict[str, object]:
    return {
        "attest": ["type=sbom", "type=provenance,mode=max"],
        "output": ["type=registry,rewrite-timestamp=true"],
    }
