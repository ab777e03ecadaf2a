"""From a digest to a release that is ready to switch: CLAIM PREFLIGHT FETCH VERIFY STAGE BUILD PROVE READY.

Nothing here disturbs what drives. Each stage looks first whether its work is done, so that the verb can be called again
at any time.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from dataclasses import dataclass, replace

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump
from model_registry.core.errors import HomeportError, LockedError, RefusedError
from model_registry.core.gate import GateResult
from model_registry.core.layout import ReleaseFolder
from model_registry.core.release import PAYLOAD_TYPE, Release
from stack.agent.change.deployment import Deployment
from stack.agent.change.fit import check_here
from stack.agent.change.pulling import Pulling
from stack.agent.disk.channels import HeardRecord, hear
from stack.agent.disk.revocations import Revocations
from stack.agent.disk.store import verify_folder, verify_staged, was_committed
from stack.agent.disk.trusting import keys_for_tool, keys_of
from stack.agent.host import Host, Progress
from stack.agent.machine import child
from stack.agent.machine.child import Program
from stack.agent.machine.os_slots import check_settled
from stack.agent.machine.room import Need, check_room, check_rooms, shortage, size_of
from stack.agent.reports import CalledOff, FailedError, Failure, GateFailed, Result, StagePlan
from stack.agent.runtime import Fetched
from stack.agent.settings.windows import window_document

_DOCKER_FAILED = 125
"""The exit code of `docker run` itself, not of what it ran: no fault of the release."""
_STEPS = ("FETCH", "VERIFY", "STAGE", "BUILD", "PROVE", "READY")


@dataclass(frozen=True, slots=True)
class StageRequest:
    """Which release to stage, and from where.

    `retry` takes a quarantined one again; `channel_record` is a signed record as it stands, to learn from. `followed`:
    nobody chose this release but that record, so it has to be the one that the record leads to, and new enough.
    """

    release: Digest
    source: str
    repository: str
    dry_run: bool
    retry: bool
    channel_record: str | None = None
    followed: bool = False


def check_request(host: Host, request: StageRequest) -> HeardRecord | None:
    """Keep what a channel record tells, also when it refuses this release; returns what was heard from it.

    Raises RefusedError for a revoked one and for one in quarantine, and for an expired record where the settings refuse
    that.
    """
    revoked = Revocations.load(host.layout)
    heard = None
    if request.channel_record is not None:
        heard = hear(host.layout, host.config.channel, request.channel_record.encode())
        revoked = heard.known
        if not request.dry_run:
            revoked.save(host.layout, host.store.files)
        heard.heed_expiry()
    revoked.check(host.layout, request.release)
    why = host.store.quarantined().get(request.release)
    if why is not None and not request.retry:
        raise RefusedError(f"{request.release}: failed here before ({why}); use --retry to try it again")
    return heard


def plan(host: Host, request: StageRequest) -> Result:
    """What `stage` would do; changes nothing. Bytes are 0 where only fetching would tell."""
    check_request(host, request)
    missing = host.store.missing(request.release)
    changes = bool(missing) or _signed(host, request.release) is None
    steps = _STEPS if changes else ()
    build = any(part.startswith("engine") for part in missing) and host.store.engine_key(request.release) is None
    release = host.store.find(request.release)
    version = None if release is None else release.version
    return Result(
        "stage",
        changes,
        request.release,
        version,
        plan=StagePlan(0, build, steps, window_document(host.config.windows, host.layout)),
    )


def stage(host: Host, request: StageRequest, progress: Progress) -> Result:
    """Make a release ready to switch. Raises FailedError with the exit code of what stopped it."""
    heard = check_request(host, request)
    for doubt in () if heard is None else heard.heed_expiry():
        progress("CLAIM", doubt)
    usable = not (request.retry or host.store.missing(request.release))
    if usable and (release := _whole(host, request.release)) is not None:
        check_here(host, release)
        progress("READY", f"{release.name} {release.version} is ready; nothing to do.")
        return Result("stage", False, request.release, release.version, "READY")
    work = _Staging(host, request, progress, heard)
    try:
        return work.run()
    except (HomeportError, OSError) as error:
        raise work.failed(error) from error


def _signed(host: Host, digest: Digest) -> Release | None:
    """A release whose signed document is here and says what it said when it was staged."""
    try:
        return verify_staged(host.layout, digest)
    except HomeportError:
        return None


def _whole(host: Host, digest: Digest) -> Release | None:
    """A release whose documents and code are here, after what was lost came back from its copy."""
    release = _signed(host, digest)
    return release if release is not None and host.store.restored(digest) else None


class _Staging:
    """One run of the stages; the result says what it has fetched and built so far."""

    def __init__(self, host: Host, request: StageRequest, progress: Progress, heard: HeardRecord | None) -> None:
        self._host = host
        self._request = request
        self._heard = heard
        self._fetched = ReleaseFolder(host.layout.ingest / f"release-{request.release.short}-{secrets.token_hex(4)}")
        self._home = host.layout.release(request.release)
        self._installed = False
        self._image_bytes = self._model_bytes = 0
        self._answered = False
        """Whether the release's own tool had its say: before that nothing can be its fault."""
        self._deployment = Deployment(host, request.release, progress)
        self._pulling = Pulling(self._deployment, host.config.fetch.give_up_s)
        self._result = Result("stage", True, request.release, stage="READY")

    def run(self) -> Result:
        step = self._deployment.step
        with step("CLAIM"):
            pass
        with step("PREFLIGHT"):
            self._preflight()
        self._installed = _whole(self._host, self._request.release) is not None
        with step("FETCH", source=self._request.source) as done:
            done["bytes"] = 0 if self._installed else self._fetch()
        with step("VERIFY") as done:
            folder = self._home if self._installed else self._fetched
            release = verify_folder(self._host.layout, folder, self._request.release)
            if self._heard is not None:
                for doubt in self._heard.heed(release, self._request.followed):
                    self._deployment.say(doubt)
            check_here(self._host, release)
            self._result.version = done["version"] = release.version
        with step("STAGE") as done:
            self._check_room(release)
            done["bytes"] = self._stage(release)
        self._build(release)
        with step("READY"):
            self._host.store.pardon(release.digest)
        return self._result

    def failed(self, error: HomeportError | OSError) -> FailedError:
        """Close the deployment and say why; a release that failed to build or prove is put in quarantine."""
        shutil.rmtree(self._fetched.path, ignore_errors=True)
        stage = self._deployment.stage
        failure = error.failure if isinstance(error, GateFailed) else Failure(self._request.release, stage, str(error))
        full = isinstance(error, OSError) or os.strerror(errno.ENOSPC).lower() in str(error).lower()
        if (
            self._answered
            and stage in ("BUILD", "PROVE")
            and not full
            and not isinstance(error, (CalledOff, LockedError))
        ):
            if (lacking := shortage(self._host.layout.disks)) is not None:  # which libraries tell in words of their own
                failure = replace(failure, message=f"{failure.message} ({lacking})")
            else:
                self._host.store.quarantine(failure)
        self._deployment.fail(failure)
        self._result.changed = False
        self._result.stage = "FAILED"
        self._result.failure = failure
        return FailedError(failure.message, self._result, error.exit_code if isinstance(error, HomeportError) else 1)

    def _preflight(self) -> None:
        check_room(self._host.layout.root, {})
        check_settled(self._host.layout)
        keys_of(self._host.layout, self._committed())
        self._host.runtime.preflight()

    def _pull(self, command: Program, what: str) -> Reader:
        """Run a pull and count the bytes that came over the wire."""
        reader = self._pulling.run(command, what)
        self._result.bytes_fetched += reader.integer("bytes_fetched")
        return reader

    def _fetch(self) -> int:
        """The signed document and what comes with it; returns bytes."""
        host = self._host
        request = self._request
        with keys_for_tool(host.layout, self._committed()) as keys:
            arguments = (
                *("release", "pull", str(request.release), "--source", request.source),
                *("--repository", request.repository, "--to", str(self._fetched)),
                *("--row-arch", host.robot().row_arch, "--keys", str(keys)),
            )
            report = self._pull(host.runtime.device_tool("model_registry.cli", *arguments), "release pull")
        self._image_bytes = report.integer("image_bytes")
        self._model_bytes = report.integer("model_bytes") if report.has("model_bytes") else 0
        return report.integer("bytes_fetched")

    def _committed(self) -> bool:
        return was_committed(self._host.layout, self._request.release)

    def _check_room(self, release: Release) -> None:
        """Whether all that is still to come has room. An engine takes about what its model takes."""
        layout = self._host.layout
        store = self._host.store
        model = layout.model(release.model)
        here = size_of(model) if model.exists() else 0
        engine = 0 if store.engine_key(release.digest) else here or self._model_bytes
        image = () if self._installed else self._host.runtime.room(self._image_bytes)
        check_rooms(
            (
                Need(layout.models, "the model", 0 if here else self._model_bytes),
                Need(layout.engines, "its engine", engine),
                *image,
            )
        )

    def _stage(self, release: Release) -> int:
        """Lay out code and model; returns the model's bytes that came over the wire."""
        files = self._host.store.files
        layout = self._host.layout
        if not self._installed:
            self._host.runtime.install(release, Fetched(self._fetched, self._request.source, self._image_bytes))
            envelope = self._fetched.envelope.read_bytes()
            payload, _ = dsse.read_payload(envelope, PAYLOAD_TYPE, self._fetched.envelope.name)
            files.write(self._fetched.document, payload)
            files.sync_tree(self._fetched.path)
            if self._home.path.exists():  # its image had gone, or a document
                files.write(self._home.document, payload)
                files.write(self._home.envelope, envelope)
                shutil.rmtree(self._fetched.path)
                self._host.runtime.ensure(release)
            else:
                files.move(self._fetched.path, self._home.path)
        options = ("--to", str(layout.models), "--robot", str(layout.robot_toml), "--json")
        reference = f"{release.model_repository}@{release.model}"
        pull = ("model", "pull", reference, "--source", self._request.source, *options)
        report = self._pull(self._host.runtime.tool(release, "model_registry.cli", *pull), "model pull")
        files.link(self._home.model, f"../../models/{release.model.hex}")
        return report.integer("bytes_fetched")

    def _build(self, release: Release) -> None:
        """BUILD and PROVE are one child: the engine that was built is the one that is proved."""
        self._deployment.begin("BUILD")
        options = ("--release", str(self._home), *self._host.layout.options, "--json")
        tool = self._host.runtime.tool(release, "stack.engine", "build", *options)
        outcome = child.run(tool, self._deployment.say, self._host.work.abort)
        if outcome.code == _DOCKER_FAILED:
            raise OSError(errno.EIO, outcome.error or "docker could not start the container")
        self._answered = True
        report = outcome.reader("engine build", 1)
        key = report.text("key")
        built = report.boolean("built")
        self._result.engines_built += built
        self._deployment.finish(key=key, built=built, seconds=report.number("seconds"))
        self._deployment.begin("PROVE")
        self._prove(key, GateResult.read(report.child("gate")), outcome.code == 0)

    def _prove(self, key: str, gate: GateResult, ended_well: bool) -> None:
        self._result.gates = (gate,)
        if not (ended_well and gate.passed):
            raise GateFailed(self._request.release, "PROVE", gate)
        files = self._host.store.files
        link = self._home.engine
        target = f"../../engines/{key}"
        if not link.is_symlink() or str(link.readlink()) != target:
            files.link(link, target)
        files.write(self._home.proof, dump(gate.document()))
        self._deployment.finish(gate=gate.document())
