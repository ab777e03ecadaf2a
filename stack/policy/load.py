"""From `slots/x` to something that can run.

Every file that the release names is checked, and the engine is the one that was proved on this device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, IntegrityError, NotFoundError, RefusedError
from model_registry.core.gate import GateResult
from model_registry.core.layout import Layout, ReleaseFolder, linked_release
from model_registry.core.release import Release
from model_registry.core.robot import Robot
from stack.engine import builder, wiring
from stack.engine.variants import variants
from stack.policy.inference import TimedInference
from stack.policy.profile import profile
from stack.policy.sensing import SourceWiring
from stack.policy.slot import Slot


@dataclass(frozen=True)
class Found:
    """A slot's release and the robot it is on, before anything is opened."""

    folder: Path
    release: Release
    robot: Robot | None

    @property
    def image(self) -> Digest | None:
        image = self.release.images.get(self.robot.row_arch) if self.robot else None
        return image.digest if image else None


def find(layout: Layout, slot: str) -> Found:
    """Read the release in a slot. Raises NotFoundError or IntegrityError."""
    digest = linked_release(layout.slot(slot))
    if digest is None:
        raise NotFoundError(f"{layout.slot(slot)}: no release in slot {slot}; stage one")
    folder = layout.release(digest)
    try:
        payload = folder.document.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{folder}: no readable release.json ({error.strerror}); stage it again") from error
    release = Release.parse(digest.check(payload, f"{folder}: release.json"))
    return Found(folder.path, release, Robot.load(layout.robot_toml) if layout.robot_toml.exists() else None)


def load(found: Found) -> tuple[builder.BuildPlan, Slot]:
    """Open and warm up the proved engine. Raises RefusedError when there is none for this model, recipe and device."""
    settings = profile(found.release.profile, found.release.overrides)
    what = builder.plan(found.folder)
    robot = found.robot
    sources = SourceWiring.plain(what.contract) if robot is None else SourceWiring.of(what.contract, robot)
    engine = proved_engine(found.folder, what.key)
    yaw = robot.lidar.yaw if robot is not None else 0.0
    full = _open(what, engine, yaw)
    p99_ms = full.warm_up()
    longest_ms = what.contract.action.longest_inference_s(sources.oldest_s) * 1e3
    if p99_ms > longest_ms:
        raise RefusedError(
            f"slot: p99 inference takes {p99_ms:.0f} ms and {longest_ms:.0f} ms is the longest that leaves no hole "
            "between action chunks;"
            " choose a smaller model or more execute_steps"
        )
    p50_ms = full.percentiles()[0] or 0.0
    most_ms = min(settings.max_cycle_s, sources.oldest_s) * 1e3
    if p50_ms > most_ms:  # it would run for ever and never act
        raise RefusedError(
            f"slot: half of its inferences take more than {p50_ms:.0f} ms, and profile {found.release.profile} drops "
            f"what took more than {most_ms:.0f} ms;"
            " choose a smaller model, another profile or a longer max_cycle_s"
        )
    small = _small(what, engine, yaw) if settings.ladder else None
    seed = int(found.release.digest.hex[:16], 16)
    return what, Slot(what.contract, settings, full, small, wiring=sources, seed=seed)


def _open(what: builder.BuildPlan, engine: Path, yaw: float) -> TimedInference:
    _check_small_files(what)
    graphs = wiring.load(what.choice.kind, what.release.recipe.precision, engine, what.contract)
    return TimedInference(what.model, what.contract, graphs, yaw)


def _small(what: builder.BuildPlan, engine: Path, yaw: float) -> TimedInference | None:
    """The first smaller variant whose engine was built and proved here, warm; None when there is none."""
    for variant, folder in variants(what, engine):
        if (folder / builder.READY_FILE).exists():
            builder.check(folder, variant.key)
            inference = _open(variant, folder, yaw)
            inference.warm_up()
            return inference
    return None


def proved_engine(folder: Path, key: str) -> Path:
    """The engine a release folder links to, when it is intact, ready and the one this device needs.

    Raises RefusedError.
    """
    release = ReleaseFolder(folder)
    engine = release.engine.resolve()
    if not engine.is_dir():
        raise IncompatibleError(f"{folder}: no engine was built; run `engine build` for this release")
    if engine.name != key:
        raise IncompatibleError(
            f"{folder}: engine {engine.name[:12]} was built for another model, recipe or device (this one needs "
            f"{key[:12]}); build it again, with `homeport-agent stage --retry` of its release"
        )
    builder.check(engine, key)
    if not (engine / builder.READY_FILE).exists():
        raise RefusedError(f"{engine}: was not proved on this device; run `engine prove`")
    if release.proof.exists() and not GateResult.load(release.proof).passed:
        raise RefusedError(f"{folder}: its engine failed the gate `prove`; read prove.json")
    return engine


def _check_small_files(what: builder.BuildPlan) -> None:
    text = what.contract.observation.text
    named = (text.tokenizer if text else None, what.contract.statistics)
    for path in (name for name in named if name):
        try:
            what.contract.files[path].check_file(what.model / path, f"{what.model}: {path}")
        except OSError as error:
            raise IntegrityError(
                f"{what.model}: {path} cannot be read ({error.strerror}); fetch the model again"
            ) from error
