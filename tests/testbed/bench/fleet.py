"""The bench fleet: real playbooks over ssh, real images from a real registry, on robots that are containers.

    bench = Bench(Path("build/bench"))
    bench.up(("alder", "birch"))
    bench.make("deploy", RELEASE=bench.releases["1.0.0"])
    bench.down()

`fleet.json` in the folder tells a later process what there is. Secrets are kept outside of the repository, in a folder
that goes with the bench.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from model_registry.core.files import Files
from tests.fakes.ros import REPOSITORY, wait_until
from tests.testbed.bench import containers, desk, image, inventory, publish, secrets
from tests.testbed.bench.robot import Robot
from tests.testbed.console import BESIDE, busy, run_playbook
from tests.testbed.engine import Engine, adopt, answering, find_engine
from tests.testbed.registry import build_agent

NAME = "homeport-bench"
NAMES = ("alder", "birch", "cedar", "douglas", "elder", "fir", "ginkgo", "hazel")
DOMAIN = 11
GET = re.compile(r'"GET (\S+) HTTP/[0-9.]+" \d+ (\d+)')
Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


class Bench:
    """Everything that one `make fleet-up` makes.

    `say` gets a sentence before each step; an `engine` that is given is not stopped.
    """

    def __init__(self, folder: Path, name: str = NAME, say: Say = silent, engine: Engine | None = None) -> None:
        self.folder, self.name, self.say = folder.resolve(), name, say
        self.robots: dict[str, Robot] = {}
        self.registry: Container
        self._shared, self._engine = engine is not None, engine
        self._file = self.folder / "fleet.json"
        self.state: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    @property
    def releases(self) -> dict[str, str]:
        return dict(self.state["releases"])

    @property
    def registry_address(self) -> str:
        """The registry as this machine reaches it; the robots know it by another name."""
        return f"127.0.0.1:{containers.published_port(self.registry, containers.REGISTRY_PORT)}"

    @property
    def source(self) -> str:
        return f"https://{self.registry_address}"

    @property
    def secrets(self) -> Path:
        return Path(self.state["secrets"])

    def engine(self) -> Engine:
        """The engine; one that an earlier run has started is still ours to stop."""
        if self._engine is None:
            known = self.state.get("dockerd")
            self._engine = (adopt(**known) if known else None) or find_engine(say=self.say)
            if (daemon := self._engine.daemon) is not None:
                self._remember(dockerd={"pid": daemon.pid, "ticks": daemon.ticks})
        return self._engine

    def up(self, names: Sequence[str]) -> None:
        """Make what is missing, start what is stopped. Raises AssertionError or EngineError, which say what to do."""
        client = self.engine().client
        containers.remove_forsaken(client, self.name, self.say)
        if not self.state.get("secrets") or not self.secrets.exists():
            containers.remove(client, self.name)  # what an earlier bench left has other keys
            folder = tempfile.mkdtemp(prefix=f"{self.name}-")
            secrets.write(Path(folder))
            self._remember(secrets=folder, releases={}, image="")
        bench_image = image.FLEET.ensure(client, self.say)
        self.say(f"Starting the registry and {len(names)} robots")
        containers.retire(client, self.name, keep=("registry", *names))
        containers.network(client, self.name)
        self.registry = containers.registry(client, self.name, bench_image, self.secrets)
        self.registry.reload()
        self.robots = {}
        for number, name in enumerate(names):
            container = containers.robot(client, self.name, name, bench_image, self.secrets)
            container.reload()
            self.robots[name] = Robot(name, container, self.secrets, DOMAIN + number)
        self._publish()
        self._prepare()

    def stands(self, names: Sequence[str]) -> bool:
        """Whether exactly these robots are made, prepared and on, by whomever; then they are found."""
        self.state = json.loads(self._file.read_text()) if self._file.exists() else {}
        if list(self.state.get("robots", ())) != list(names):
            return False
        self.find()
        return all(robot.container.status == "running" for robot in self.robots.values())

    def find(self) -> None:
        """The robots and the registry that another process has made, which are not touched."""
        client = self.engine().client
        self.state = json.loads(self._file.read_text())
        self.registry = client.containers.get(f"{self.name}-registry")
        self.robots = {
            name: Robot(name, client.containers.get(f"{self.name}-{name}"), self.secrets, DOMAIN + number)
            for number, name in enumerate(self.state["robots"])
        }

    def _publish(self) -> None:
        client = self.engine().client
        name = publish.stack_image()
        built = str(client.images.get(name).id)
        if self.state["releases"] and self.state["image"] == built:
            return
        if self.state["releases"]:
            raise AssertionError(f"{name} was built anew since this bench was made; run make fleet-down first")
        self.say(f"Pushing {name}, packing the models, signing releases {' and '.join(publish.VERSIONS)}")
        digest = publish.push(client, name, self.registry_address)
        released = publish.publish(self.folder, self.secrets, self.source, name)
        self._remember(image=built, digest=digest, releases=released)

    def _prepare(self) -> None:
        agent = build_agent(self.folder / "homeport-agent")
        inventory.write(self.inventory, self.robots.values(), self.secrets, agent, self.state["digest"], self.source)
        self._each(Robot.wait_booted)
        self.say("Preparing the robots with bootstrap.yml; they pull the image")
        done = self.playbook("bootstrap")
        assert done.returncode == 0, f"bootstrap.yml ended with {done.returncode}:\n{done.stdout[-6000:]}{done.stderr}"
        self.say("Giving the robots a simulated body")
        image = (
            f"homeport/pin:{self.state['digest'].removeprefix('sha256:')}"  # the name that a copy brings back as well
        )
        self._each(lambda robot: robot.give_body(image, robot.domain))
        self._each(desk.give_programs)
        self._each(lambda robot: wait_until(robot.answers, 60.0, f"{robot.name}'s agent and supervisor"))
        desk.write(self.folder, self.robots.values(), self.secrets, self.source, self.releases)
        self._remember(robots={robot.name: robot.port for robot in self.robots.values()}, registry=self.source)

    def _each(self, action: Callable[[Robot], object]) -> None:
        with ThreadPoolExecutor(max(1, len(self.robots))) as pool:
            list(pool.map(action, self.robots.values()))

    def playbook(self, name: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection over the bench."""
        return run_playbook(name, self.inventory, self.folder, *options, **variables)

    def make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What an operator types: `make TARGET INVENTORY=… NAME=VALUE`; the report is in `report()` afterwards."""
        self.report_file.unlink(missing_ok=True)
        argv = self.make_argv(target, **variables)
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=self.make_environment(), capture_output=True, text=True, timeout=600
        )
        with (self.folder / "ansible.log").open("a") as log:
            log.write(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}\n")
        return done

    def make_argv(self, target: str, **variables: str) -> list[str]:
        """The command line of `make`."""
        settings = [f"{key}={value}" for key, value in {"INVENTORY": str(self.inventory), **variables}.items()]
        return [*BESIDE, "make", "--no-print-directory", target, *settings]

    def make_environment(self) -> dict[str, str]:
        """The environment of that command: the programs of this interpreter, and output without colours."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1"}

    def deploy(self, version: str) -> dict[str, Any]:
        """`make deploy` of a release to robots that are all well; the report.

        Raises AssertionError with what Ansible printed.
        """
        done = self.make("deploy", RELEASE=self.releases[version])
        done = self._or_once_more(done, f"Deploying {version}", lambda: self._rollout(version, homeport_retry=True))
        assert done.returncode == 0, done.stdout[-4000:]
        return self.report()

    def rollback(self, version: str) -> dict[str, Any]:
        """`make rollback` to the release before, which is `version`; else as `deploy`.

        What is tried once more is named, so that who is there stays.
        """
        named = {"TO": self.releases[version]}
        done = self._or_once_more(
            self.make("rollback"), f"Going back to {version}", lambda: self.make("rollback", **named)
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return self.report()

    def rollout(self, version: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """deploy.yml with variables, whatever comes of it."""
        again = {**variables, "homeport_retry": True}
        done = self._rollout(version, **variables)
        return self._or_once_more(done, f"Deploying {version}", lambda: self._rollout(version, **again))

    def _rollout(self, version: str, **variables: object) -> subprocess.CompletedProcess[str]:
        settings = {"homeport_release": self.releases[version], "homeport_report": str(self.report_file), **variables}
        return self.playbook("deploy", **settings)

    def _or_once_more(
        self, done: subprocess.CompletedProcess[str], what: str, again: Callable[[], subprocess.CompletedProcess[str]]
    ) -> subprocess.CompletedProcess[str]:
        """Try a change once more.

        A busy machine makes a control loop silent for 0.1 s, and a robot rightly refuses that.
        """
        why = busy(self.report())
        if not (done.returncode and why):
            return done
        self.say(f"{what} again: {why}")
        return again()

    @property
    def report_file(self) -> Path:
        return self.folder / "report.json"

    def report(self) -> dict[str, Any]:
        """What the last playbook reported."""
        return dict(json.loads(self.report_file.read_text()))

    def requests(self) -> list[tuple[str, int]]:
        """The registry's access log: path and body bytes of every GET, in order."""
        log = self.registry.logs(stdout=True, stderr=False).decode(errors="replace")
        return [(found[1], int(found[2])) for found in GET.finditer(log)]

    def down(self) -> None:
        """Remove everything; stop the engine if it is ours. Raises AssertionError naming what is left."""
        if self.state or self._shared or answering(os.environ) is not None:
            self.say("Removing robots, registry, volumes, network and keys")
            engine = self.engine()
            containers.remove(engine.client, self.name)
            if not self._shared:
                if foreign := engine.close():
                    self.say(f"The engine that was started here goes on, since others use it: {', '.join(foreign)}")
                self._engine = None
        if "secrets" in self.state:
            shutil.rmtree(self.secrets, ignore_errors=True)
        self.state, self.robots = {}, {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remember(self, **facts: object) -> None:
        self.state |= facts
        self.folder.mkdir(parents=True, exist_ok=True)
        Files().write(self._file, f"{json.dumps(self.state, indent=2)}\n".encode())


@contextmanager
def passing(name: str) -> Iterator[Bench]:
    """A bench for one measurement.

    Tells on stderr what it does, prints its robots' logs when something is not as it should be, and leaves nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    bench = Bench(folder / "bench", name, say=lambda text: print(text, file=sys.stderr, flush=True))
    try:
        yield bench
    except AssertionError:
        print(*(robot.logs(200) for robot in bench.robots.values()), sep="\n", file=sys.stderr)
        raise
    finally:
        if bench.state:
            bench.down()
        shutil.rmtree(folder, ignore_errors=True)
