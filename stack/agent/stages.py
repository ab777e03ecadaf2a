"""From a digest to a release that is ready to switch: CLAIM PREFLIGHT FETCH VERIFY STAGE BUILD PROVE READY.

Nothing here disturbs what drives. Each stage looks first whether its work is done, so that the verb can be called again at any time.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump
from model_registry.core.errors import HomeportError, IncompatibleError, NotFoundError, RefusedError
from model_registry.core.files import sync_tree
from model_registry.core.release import PAYLOAD_TYPE, Release
from model_registry.core.version import version
from stack.agent import child
from stack.agent.deployment import Deployment
from stack.agent.fit import check_fits
from stack.agent.host import Host, Progress
from stack.agent.reports import Check, FailedError, Failure, GateResult, Plan, Result
from stack.agent.runtime import Command
from stack.agent.store import PROVED

_FREE_BYTES = 256 << 20
_CHILD_S = 3600.0
_STEPS = ("FETCH", "VERIFY", "STAGE", "BUILD", "PROVE", "READY")


@dataclass(frozen=True, slots=True)
class StageRequest:
    """Which release, from where; `retry` takes a quarantined one again."""

    release: Digest
    source: str
    repository: str
    retry: bool


class GateError(HomeportError):
    """The engine did not prove itself."""

    def __init__(self, result: GateResult, failure: Failure) -> None:
        super().__init__(failure.message)
        self.gate, self.failure = result, failure


def plan(host: Host, request: StageRequest) -> Result:
    """What `stage` would do; changes nothing. Bytes are 0 where only fetching would tell."""
    _check_quarantine(host, request)
    missing = host.store.missing(request.release)
    steps = _STEPS if missing else ()
    build = any(part.startswith("engine") for part in missing) and host.store.engine_key(request.release) is None
    return Result("stage", bool(missing), request.release, _version(host, request), plan=Plan(0, build, steps))


def stage(host: Host, request: StageRequest, progress: Progress) -> Result:
    """Make a release ready to switch. Raises FailedError with the exit code of what stopped it."""
    _check_quarantine(host, request)
    if not host.store.missing(request.release) and not request.retry:
        release = verify_folder(host, host.layout.release(request.release), request.release)
        check_here(host, release)
        progress("READY", f"{release.name} {release.version} is ready; nothing to do.")
        return Result("stage", False, request.release, release.version, "READY")
    work = _Staging(host, request, progress)
    try:
        return work.run()
    except (HomeportError, OSError) as error:
        raise work.failed(error) from error


def verify_folder(host: Host, folder: Path, digest: Digest) -> Release:
    """Check the signature of a release folder again, with this robot's keys. Raises UntrustedError or IntegrityError."""
    what = f"release {digest.short}"
    try:
        data = (folder / "release.dsse.json").read_bytes()
    except OSError as error:
        raise NotFoundError(f"{what}: no signed document in {folder} ({error.strerror}); stage it again") from error
    payload = dsse.verify(data, PAYLOAD_TYPE, dsse.trusted_keys(host.layout.keys), what)
    return Release.parse(digest.check(payload, what))


def check_here(host: Host, release: Release) -> None:
    """Whether a verified release fits this robot. Raises IncompatibleError or RefusedError."""
    view = host.supervisor.try_view()
    protocol = None if view is None else view.protocol
    check_fits(release, host.robot(), host.store.floor(), version(), protocol)
    host.runtime.check(release)


def _check_quarantine(host: Host, request: StageRequest) -> None:
    why = host.store.quarantined().get(request.release)
    if why is not None and not request.retry:
        raise RefusedError(f"{request.release}: failed here before ({why}); use --retry to try it again")


def _version(host: Host, request: StageRequest) -> str | None:
    try:
        return host.store.load(request.release).version
    except HomeportError:
        return None


class _Staging:
    """One run of the stages, with what it has fetched and built so far."""

    def __init__(self, host: Host, request: StageRequest, progress: Progress) -> None:
        self._host, self._request = host, request
        self._fetched = host.layout.ingest / f"release-{request.release.short}-{secrets.token_hex(4)}"
        self._home = host.layout.release(request.release)
        self._deployment = Deployment(host, request.release, progress)
        self._bytes = 0
        self._engines = 0
        self._version: str | None = None
        self._gates: tuple[GateResult, ...] = ()

    def run(self) -> Result:
        step = self._deployment.step
        with step("CLAIM"):
            pass
        with step("PREFLIGHT"):
            self._preflight()
        with step("FETCH", source=self._request.source) as done:
            done["bytes"] = self._fetch()
        with step("VERIFY") as done:
            release = self._verify()
            done["version"] = release.version
        with step("STAGE") as done:
            done["bytes"] = self._stage(release)
        self._build(release)
        with step("READY"):
            self._host.store.pardon(release.digest)
        return self._result("READY", changed=True)

    def failed(self, error: HomeportError | OSError) -> FailedError:
        """Close the deployment and say why; a release that failed to build or prove is put in quarantine."""
        shutil.rmtree(self._fetched, ignore_errors=True)
        stage = self._deployment.stage
        failure = Failure(self._request.release, stage, "error", None, None, str(error))
        if isinstance(error, GateError):
            failure, self._gates = error.failure, (error.gate,)
        if stage in ("BUILD", "PROVE") and not isinstance(error, OSError):
            self._host.store.quarantine(failure)
        self._deployment.fail(failure)
        result = self._result("FAILED", changed=False, failure=failure)
        return FailedError(str(error), result, error.exit_code if isinstance(error, HomeportError) else 1)

    def _result(self, stage: str, changed: bool, failure: Failure | None = None) -> Result:
        return Result(
            "stage",
            changed,
            self._request.release,
            self._version,
            stage,
            self._bytes,
            self._engines,
            gates=self._gates,
            failure=failure,
        )

    def _preflight(self) -> None:
        free = shutil.disk_usage(self._host.layout.root).free
        if free < _FREE_BYTES:
            raise RefusedError(
                f"{self._host.layout.root}: {free >> 20} MiB free, {_FREE_BYTES >> 20} needed; make room"
            )
        dsse.trusted_keys(self._host.layout.keys)
        python = self._host.config.device_python
        if not python.exists():
            raise IncompatibleError(f"{python}: not there; apply the role `device`")

    def _run(self, command: Command, what: str) -> Reader:
        return child.run(command, _CHILD_S, self._deployment.say).checked(what)

    def _fetch(self) -> int:
        """Bytes that came over the wire for the release document and its image."""
        if (self._home / "site").exists():
            return 0
        result = self._run(fetch_command(self._host, self._request, self._fetched), "release pull")
        self._bytes += (fetched := result.integer("bytes_fetched"))
        return fetched

    def _verify(self) -> Release:
        folder = self._home if (self._home / "site").exists() else self._fetched
        release = verify_folder(self._host, folder, self._request.release)
        check_here(self._host, release)
        self._version = release.version
        return release

    def _stage(self, release: Release) -> int:
        """Lay out code and model; returns the model's bytes that came over the wire."""
        files = self._host.store.files
        if not (self._home / "site").exists():
            self._host.runtime.install(release, self._fetched)
            payload, _ = dsse.read_payload(
                (self._fetched / "release.dsse.json").read_bytes(), PAYLOAD_TYPE, "release.dsse.json"
            )
            files.write(self._fetched / "release.json", payload)
            sync_tree(self._fetched)
            files.rename(self._fetched, self._home)
        result = self._run(model_command(self._host, self._request, release), "model pull")
        self._bytes += (fetched := result.integer("bytes_fetched"))
        files.link(self._home / "model", f"../../models/{release.model.hex}")
        return fetched

    def _build(self, release: Release) -> None:
        """BUILD and PROVE are one child: the engine that was built is the one that is proved."""
        self._deployment.begin("BUILD")
        command = engine_command(self._host, release)
        outcome = child.run(command, _CHILD_S, self._deployment.say)
        if outcome.code not in (0, 1):
            outcome.checked("engine build")
        report = outcome.reader("engine build")
        key, built = report.text("key"), report.boolean("built")
        self._engines += built
        self._deployment.finish(key=key, built=built, seconds=report.number("seconds"))
        self._deployment.begin("PROVE")
        gate = read_gate(report.child("gate"))
        self._gates = (gate,)
        if outcome.code != 0 or not gate.passed:
            raise GateError(gate, Failure.of_gate(release.digest, "PROVE", gate))
        files = self._host.store.files
        if not (self._home / "engine").is_symlink():
            files.link(self._home / "engine", f"../../engines/{key}")
        files.write(self._home / PROVED, dump(gate.document()))
        self._deployment.finish(gate=gate.document())


def read_gate(reader: Reader) -> GateResult:
    """A gate result that another program printed."""

    def check(value: object, path: str) -> Check:
        entry = Reader(value, path)
        return Check(
            entry.text("metric"),
            entry.number("value") if entry.has("value") else None,
            entry.number("threshold") if entry.has("threshold") else None,
            entry.boolean("ok"),
            entry.text("text"),
        )

    return GateResult(reader.text("gate"), reader.text("verdict"), reader.items("checks", check))


def fetch_command(host: Host, request: StageRequest, target: Path) -> Command:
    """`release pull`, run by the device's own installation: the release's code is not here yet."""
    layout, robot = host.layout, host.robot()
    argv = (
        *(str(host.config.device_python), "-m", "model_registry.cli", "release", "pull", str(request.release)),
        *("--source", request.source, "--repository", request.repository, "--to", str(target)),
        *("--row-arch", robot.row_arch, "--keys", str(layout.keys)),
    )
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    path = os.pathsep.join(host.config.device_path)
    return Command(argv, {**environment, **({"PYTHONPATH": path} if path else {})})


def model_command(host: Host, request: StageRequest, release: Release) -> Command:
    """`model pull`, run inside the release."""
    layout = host.layout
    reference = f"{release.model_repository}@{release.model}"
    options = ("--source", request.source, "--to", str(layout.models), "--robot", str(layout.robot_toml), "--json")
    return host.runtime.tool(release, "model_registry.cli", "model", "pull", reference, *options)


def engine_command(host: Host, release: Release) -> Command:
    """`engine build`, run inside the release at low priority."""
    folder, root = str(host.layout.release(release.digest)), str(host.layout.root)
    command = host.runtime.tool(release, "stack.engine", "build", "--release", folder, "--root", root, "--json")
    return Command(child.nice_argv(command.argv), command.environment)
