"""A stranger's machine: a fresh Debian with git, make and Python, in a container, where an account types commands.

    system = System(client, "bookworm", "newcomer", site_environment)
    system.start(say)
    system.receive(bundle)                    # a checkout in ~/homeport
    typed = system.type("make demo", 600)
    typed.code, typed.text
    system.remove()

The container has a network, /tmp and home of its own; how packages are reached is taken from this machine (`site`).
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests import RequestException

from tests.fakes.ros import REPOSITORY
from tests.testbed import site
from tests.testbed.bench.containers import CHECKOUT, put
from tests.testbed.rootfs import Recipe

DEBIAN = {"bookworm": "Debian 12", "trixie": "Debian 13"}
USER = "newcomer"
PACKAGES = ("ca-certificates", "git", "make", "procps", "python3", "sudo")
"""What a stranger has. Everything else is the project's own matter to ask for."""
HOOKS = (
    f"useradd --create-home --shell /bin/bash {USER}",
    f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}",
)
LABEL = "dev.homeport.newcomer"
TMP_IN_MEMORY = ("trixie",)
"""Since Debian 13 a /tmp is kept in memory."""
BUNDLE = "/srv/homeport.bundle"


@dataclass(frozen=True)
class Typed:
    """A command that was typed, and what came of it. `text` is all that it printed, in order."""

    line: str
    code: int
    text: str
    seconds: float

    @property
    def last(self) -> str:
        """The last lines, for a report."""
        return "\n".join(self.text.splitlines()[-12:])


class System:
    """One fresh system, and who types there: `root`, or an ordinary user who may use sudo."""

    def __init__(
        self, client: docker.DockerClient, suite: str, account: str, own_environment: Mapping[str, str]
    ) -> None:
        self.suite, self.account = suite, account
        self._client = client
        self._own = own_environment
        self._container: Container

    @property
    def name(self) -> str:
        """For people."""
        return f"{DEBIAN[self.suite]} as {'root' if self.account == 'root' else 'a user'}"

    @property
    def home(self) -> str:
        return "/root" if self.account == "root" else f"/home/{self.account}"

    def start(self, say: Callable[[str], None]) -> None:
        """Make the system, with the settings of this site and nothing else."""
        recipe = Recipe(f"homeport-{USER}-{self.suite}", self.suite, PACKAGES, HOOKS, mirror=site.mirror())
        mounts = {path: {"bind": path, "mode": "ro"} for path in site.folders(self._own)}
        self._container = self._client.containers.create(
            recipe.ensure(self._client, say),
            ["sleep", "infinity"],
            init=True,
            hostname="fresh",
            labels={LABEL: self.name, CHECKOUT: str(REPOSITORY)},
            shm_size="8g",
            tmpfs={"/tmp": "exec,mode=1777"} if self.suite in TMP_IN_MEMORY else {},
            volumes=mounts,
        )
        put(self._container, {path: (content, 0o644, 0) for path, content in site.files(self._own).items()})
        self._container.start()
        done = self.type("update-ca-certificates", 60, account="root", folder="/")
        assert done.code == 0, f"certificates could not be taken up: {done.text}"

    def receive(self, bundle: Path) -> None:
        """Clone the checkout, as from anywhere. Raises AssertionError with what git says."""
        put(self._container, {BUNDLE: (bundle.read_bytes(), 0o644, 0)})
        done = self.type(f"git clone --quiet {BUNDLE} homeport", 60, folder=self.home)
        assert done.code == 0, f"the checkout could not be cloned: {done.text}"

    def type(self, line: str, deadline_s: int, account: str | None = None, folder: str | None = None) -> Typed:
        """Type a line into the account's login shell, and wait for its end; 124 is the code of what takes too long."""
        began = time.monotonic()
        shell = ["timeout", "--kill-after=10", str(deadline_s), "bash", "-lc", line]
        code, output = self._container.exec_run(shell, **self._where(account or self.account, folder))
        return Typed(line, int(code), output.decode(errors="replace"), time.monotonic() - began)

    def begin(self, line: str) -> int:
        """Start a line in a session of its own and do not wait; its number, for `kill`."""
        begun = self.type(f"setsid bash -lc {shlex.quote(line)} >/tmp/begun.log 2>&1 & echo $!", 60)
        return int(begun.text.split()[-1])

    def kill(self, number: int) -> None:
        """End a session of `begin` at once, as a power cut would. Raises AssertionError where it had ended."""
        done = self.type(f"kill -9 -- -{number}", 60)
        assert done.code == 0, f"there was nothing left to kill: {self.type('tail -n 5 /tmp/begun.log', 60).text}"

    def remove(self) -> None:
        """Remove the system with all that was made in it."""
        # An engine that ends meanwhile must not cost what was found out; `remove_left` comes back to it.
        with contextlib.suppress(DockerException, RequestException):
            self._container.remove(force=True, v=True)

    def _where(self, account: str, folder: str | None) -> dict[str, object]:
        home = "/root" if account == "root" else f"/home/{account}"
        variables = {**site.environment(self._own), "HOME": home, "USER": account, "LOGNAME": account}
        return {"user": account, "workdir": folder or f"{home}/homeport", "environment": variables}


def remove_left(client: docker.DockerClient) -> None:
    """Remove the systems that a run of this checkout has left when it was killed."""
    for container in client.containers.list(all=True, filters={"label": [LABEL, f"{CHECKOUT}={REPOSITORY}"]}):
        container.remove(force=True, v=True)
