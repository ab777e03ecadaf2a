"""A whole robot in one process for the fault matrix: the agent's own code over ports that fail on demand, real slot
processes, a fake supervisor.

with StandIn(folder) as robot:
    robot.prepare()
    robot.reset("staged")
    agent = robot.boot()
    agent.disk.before = lambda edge: …
    answer = agent.ask("switch", robot.new)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from model_registry.core.layout import SLOTS, Layout
from model_registry.core.release import Release
from stack.agent.api.status import status_document
from stack.agent.api.verbs import answer
from stack.agent.disk.journal import Journal, utc_now
from stack.agent.disk.lease import Lease, Terms, own_folder
from stack.agent.disk.store import Store
from stack.agent.gate.samples import observe, verified
from stack.agent.host import SERVING_S, Host
from stack.agent.machine.child import Program
from stack.agent.machine.processes import ProcessId, boot_id, remember, start_ticks
from stack.agent.reports import FailedError
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.settings.config import Config
from stack.agent.supervisor import SupervisorClient
from stack.agent.upkeep.keeper import Keeper
from stack.agent.work import Work
from tests.fakes.disk import Disk, Image, Killed, read_image, write_image
from tests.fakes.rig import TOP, Rig

# The release's tools, without an interpreter to start: what they print and leave is what the real ones do.
_PULL = """if [ -d "$1" ]; then
    mkdir -p "$2" && cp -r "$1/." "$2/" && echo '{"bytes_fetched": 7, "image_bytes": 0}'
else
    echo "error: $1: not found" >&2; exit 1
fi"""
_BUILD = (
    'mkdir -p "$1" && : > "$1/ready" && echo \'{"key": "\'"$2"\'", "built": true, "seconds": 0.1, "bytes": 7, "gate": '
    '{"schema": 1, "gate": "prove", "verdict": "healthy", "checks": []}}\''
)
RUN_S = 10.0


@dataclass
class Answer:
    """What a verb gave: a result document, or an error, or nothing when the agent died under it."""

    result: dict[str, Any] | None = None
    error: str | None = None
    failure: dict[str, Any] | None = None


class Power:
    """`touch` is called by every port of an agent; it is what SIGKILL takes away."""

    def __init__(self) -> None:
        self.dead = False
        self.ends_at = sys.maxsize
        self.touches = 0

    def touch(self) -> None:
        self.touches += 1
        if self.dead or self.touches >= self.ends_at:
            self.dead = True
            raise Killed


class Hasty(threading.Event):
    """Gates look ten times as often: a fault matrix has no time to wait for the next look."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(None if timeout is None else timeout / 10)


class MortalSupervisor(SupervisorClient):
    """The real client, which a dead agent does not use."""

    def __init__(self, layout: Layout, power: Power) -> None:
        super().__init__(layout.control_socket, layout.operator_socket)
        self._power = power

    def _control_call(self, verb: str, **fields: object) -> Reader:
        self._power.touch()
        return super()._control_call(verb, **fields)


class MortalLease(Lease):
    """A dead agent does not give its lease back."""

    def __init__(self, path: Path, me: ProcessId, power: Power) -> None:
        super().__init__(path, me)
        self._power = power

    def _write(self, terms: Terms) -> None:
        self._power.touch()
        super()._write(terms)


class ForkedRuntime(ProcessRuntime):
    """The process runtime, with slots that a spawner forks; `down` is a container engine that does not answer."""

    def __init__(self, layout: Layout, config: Config, files: Files, robot: StandIn, power: Power) -> None:
        super().__init__(layout, config, files)
        self._robot, self._power = robot, power
        self.down = False
        self.refused = 0

    def _use(self) -> None:
        self._power.touch()
        if self.down:
            self.refused += 1
            raise HomeportError("docker: its daemon does not answer; start it (systemctl start docker)")

    def preflight(self) -> None:
        self._use()
        super().preflight()

    def check(self, release: Release) -> None:
        self._use()
        super().check(release)

    def device_tool(self, module: str, *arguments: str) -> Program:
        self._use()
        options = dict(pairwise(arguments))
        source = f"{self._robot.source}/releases/{Digest.parse(arguments[2]).hex}"
        return Program(("/bin/sh", "-c", _PULL, "sh", source, options["--to"]), {"PATH": os.environ["PATH"]})

    def tool(self, release: Release, module: str, *arguments: str) -> Program:
        self._use()
        model = release.model.hex
        if module == "stack.engine":
            script = (_BUILD, "sh", str(self._layout.engines / model), model)
        else:
            script = (_PULL, "sh", f"{self._robot.source}/models/{model}", str(self._layout.model(release.model)))
        return Program(("/bin/sh", "-c", *script), {"PATH": os.environ["PATH"]})

    def start(self, slot: str, release: Release) -> ProcessId:
        self._use()
        return self._robot.start_slot(slot)

    def stop(self, slot: str) -> None:
        self._use()
        super().stop(slot)


class Agent:
    """One life of the agent. It has a process of its own, so that its leases die with it."""

    def __init__(self, robot: StandIn, wall: Callable[[], str] = utc_now) -> None:
        layout = robot.layout
        self.robot, self.power = robot, Power()
        me = robot.identity(robot.fork({}))
        self._pid = me.pid
        own_folder(layout.run)
        serving = MortalLease(layout.serving, me, self.power)
        serving.take("test", "serve", SERVING_S)
        config = Config.load(layout.agent_toml)
        self.disk = Disk(robot.root, serving.check, self.power.touch)
        self.disk.forgetful = robot.forgetful
        self.runtime = ForkedRuntime(layout, config, self.disk, robot, self.power)
        store = Store(layout, self.disk, self.runtime)
        store.prepare()
        self.host = Host(
            layout=layout,
            config=config,
            store=store,
            journal=Journal(layout.journal, self.disk, wall),
            runtime=self.runtime,
            supervisor=MortalSupervisor(layout, self.power),
            work=Work(MortalLease(layout.claim, me, self.power), abort=Hasty()),
            serving=serving,
            stopping=Hasty(),
        )
        self.keeper = Keeper(self.host)

    def ask(self, verb: str, **fields: object) -> Answer:
        """One request, as a client would send it."""
        try:
            return Answer(answer(self.host, {"v": 1, "verb": verb, **fields}, "test", lambda stage, text: None))
        except Killed:
            return Answer(error="killed")
        except FailedError as error:
            failure = error.result.failure
            return Answer(error=str(error), failure=failure and failure.document())
        except HomeportError as error:
            return Answer(error=str(error))

    def stage(self, release: str) -> Answer:
        return self.ask("stage", release=release, source=None, repository="releases/pilot", dry_run=False, retry=False)

    def switch(self, release: str, commit: str = "auto", deadline_s: float = 20.0, gate: str = "moving") -> Answer:
        return self.ask(
            "switch", release=release, commit=commit, deadline_s=deadline_s, probation_s=0.0, gate=gate, now=False
        )

    def outlast_probation(self) -> None:
        """Wait until a trial has decided, or died with the agent."""
        deadline = time.monotonic() + RUN_S
        while self.host.work.probation is not None and not self.power.dead:
            assert time.monotonic() < deadline, "the trial goes on"
            time.sleep(0.002)
        for thread in threading.enumerate():
            if thread.name == "probation":
                thread.join(RUN_S)

    def rollback(self) -> Answer:
        return self.ask("rollback", to="previous", gate="moving", now=False)

    def kill(self) -> None:
        """As SIGKILL: nothing of this life reaches a port any more."""
        self.power.dead = True
        self.host.stopping.set()
        self.host.work.abort.set()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        deadline = time.monotonic() + RUN_S
        while start_ticks(self._pid) is not None:
            assert time.monotonic() < deadline, "the agent's process does not end"
            time.sleep(0.001)

    def keep_until_well(self, what: str) -> dict[str, Any]:
        """The status once nothing is left to do."""
        deadline = time.monotonic() + RUN_S
        while True:
            self.keeper.keep()
            if self.drives() or self.waits():
                return status_document(self.host)
            assert time.monotonic() < deadline, f"{what}: {status_document(self.host)['problems']}"
            time.sleep(0.005)

    def waits(self) -> bool:
        """Whether nothing was ever committed, and nothing runs."""
        host = self.host
        return host.store.current() is None and all(host.runtime.alive(slot) is None for slot in SLOTS)

    def drives(self) -> bool:
        """Whether a live process says that it runs what `current` names, alone, and the supervisor listens to it."""
        host = self.host
        slot, current = host.store.current_slot(), host.store.current()
        if slot is None or current is None or host.runtime.alive(host.store.free_slot()) is not None:
            return False
        sample = observe(host, slot)
        return sample.view is not None and sample.view.drives(slot, current) and verified(host, current, sample)


class StandIn(Rig):
    """`old` is committed and drives in slot a; `new` is what a deployment brings."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.images: dict[str, Image] = {}
        self.old = self.new = self.spare = ""
        self.forgetful = False
        argv = [sys.executable, "-S", "-m", "tests.fakes.spawner"]
        self._spawner = subprocess.Popen(argv, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()
        text = self.layout.agent_toml.read_text()
        self.layout.agent_toml.write_text(
            text.replace("shadow_s = 0.3", "shadow_s = 0.0").replace("restore_s = 0.1", "restore_s = 0.0")
        )

    def start_agent(self) -> None:
        """Agents are made by `boot`; their threads die with them, silently."""
        self._hook = threading.excepthook
        threading.excepthook = lambda args: None if args.exc_type is Killed else self._hook(args)

    def __exit__(self, *_: object) -> None:
        self.power_off()
        threading.excepthook = self._hook
        super().__exit__()
        self._spawner.communicate()

    def boot(self, wall: Callable[[], str] = utc_now) -> Agent:
        return Agent(self, wall)

    def fork(self, order: dict[str, str]) -> int:
        with self._lock:
            assert self._spawner.stdin is not None and self._spawner.stdout is not None
            self._spawner.stdin.write(json.dumps(order) + "\n")
            self._spawner.stdin.flush()
            return int(self._spawner.stdout.readline())

    def identity(self, pid: int) -> ProcessId:
        return ProcessId(pid, start_ticks(pid) or 0, boot_id())

    def start_slot(self, slot: str) -> ProcessId:
        status = self.layout.slot_status(slot)
        status.parent.mkdir(parents=True, exist_ok=True)
        status.unlink(missing_ok=True)
        identity = self.identity(self.fork({"root": str(self.root), "run": str(self.layout.run), "slot": slot}))
        remember(self.layout.slot_process(slot), identity, identity.pid)
        return identity

    def power_off(self) -> None:
        """Every slot ends; the supervisor forgets, and is not armed."""
        for slot in SLOTS:
            path = self.layout.slot_process(slot)
            if path.exists():
                with suppress(ProcessLookupError):
                    os.kill(json.loads(path.read_bytes())["pid"], signal.SIGKILL)
                path.unlink()
            self.layout.slot_status(slot).unlink(missing_ok=True)
        supervisor = self.supervisor
        supervisor.selected = supervisor.reverted = None
        supervisor.armed = False
        supervisor.holders.clear()
        supervisor.revert_after_s.clear()
        supervisor.requests.clear()

    def prepare(self) -> None:
        """Bring the robot through a good life once, and keep an image of each moment that faults begin at."""
        self.old, self.new, self.spare = (self.publish(version) for version in ("1.0.0", "1.1.0", "1.2.0"))
        agent = self.boot()
        for name, step in {
            "empty": lambda: None,
            "first": lambda: agent.stage(self.old),
            "old": lambda: agent.switch(self.old),
            "staged": lambda: agent.stage(self.new),
            "new": lambda: agent.switch(self.new),
            "crowded": lambda: agent.stage(self.spare),
        }.items():
            step()
            self.images[name] = read_image(self.root)
        running = agent.host.store.current()
        agent.kill()
        assert str(running) == self.new, self.journal()[-1]

    def reset(self, name: str) -> None:
        """The robot as it was at that moment, with its current release at the wheel."""
        self.power_off()
        write_image(self.root, self.images[name])
        slot = self.layout.current.readlink().name if self.layout.current.is_symlink() else None
        if slot is not None:
            self.start_slot(slot)
            release = f"sha256:{self.layout.slot(slot).readlink().name}"
            self.supervisor.selected = {"slot": slot, "release": release, "epoch": None}
            self.supervisor.armed = True


def commit_third(robot: StandIn) -> None:
    """Commit a third release on a robot that `new` drives, which is off afterwards:

    `current`, `previous` and `fallback` are three then.
    """
    third = robot.publish("1.2.0")
    agent = robot.boot()
    agent.keep_until_well("new drives")
    assert agent.stage(third).result and agent.switch(third).result
    agent.kill()
    robot.power_off()
