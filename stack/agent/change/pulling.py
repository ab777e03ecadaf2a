"""A pull that a tool makes for the agent: how far it is, and what happens when it loses its link."""

from __future__ import annotations

import time

from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError, LinkError
from model_registry.core.transfer import PROGRESS, Transfer
from stack.agent.change.deployment import Deployment
from stack.agent.machine import child
from stack.agent.machine.child import Program
from stack.agent.reports import CalledOff

_TELL_S = 15.0
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 120.0
_LONGEST_S = 86_400.0
_MIB = 1 << 20


class Pulling:
    """The pulls of one staging.

    A tool that ends with LinkError's exit code has kept what arrived. It is started again, and goes on from there,
    until `give_up_s` pass without a byte; but where nothing ever came, mostly the source's name is wrong, and it fails
    at once.
    """

    def __init__(self, deployment: Deployment, give_up_s: float, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._deployment = deployment
        self._give_up_s = give_up_s
        self._first_pause_s = first_pause_s
        self._came = False
        self._done = 0
        self._told_s = time.monotonic()
        self._moved_s = time.monotonic()

    def run(self, command: Program, what: str) -> Reader:
        """What the tool printed. Raises its error, or CalledOff."""
        abort = self._deployment.host.work.abort
        pause_s = self._first_pause_s
        self._done = 0
        self._moved_s = time.monotonic()
        while True:
            before_s = self._moved_s
            outcome = child.run(command, self._hear, abort, _LONGEST_S)
            if outcome.code != LinkError.exit_code or not self._came:
                reader = outcome.reader(what)
                self._came = self._came or reader.integer("bytes_fetched") > 0
                self._deployment.transfer = None
                return reader
            if self._moved_s > before_s:
                pause_s = self._first_pause_s
            if time.monotonic() + pause_s - self._moved_s > self._give_up_s:
                outcome.reader(what)
            self._deployment.say(f"{outcome.error}. What arrived is kept; goes on in {pause_s:.0f} s.")
            if abort.wait(pause_s):
                raise CalledOff("called off by a rollback; what was fetched and built stays for the next time")
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _hear(self, line: str) -> None:
        """Say a line on, but for those that tell how far it is: they go to the status, at times to who waits."""
        if not line.startswith(PROGRESS):
            self._deployment.say(line)
            return
        try:
            transfer = Transfer.parse(line.removeprefix(PROGRESS))
        except HomeportError:
            return
        now_s = time.monotonic()
        if transfer.done > self._done:
            self._came = True
            self._moved_s = now_s
        self._done = transfer.done
        self._deployment.transfer = transfer
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._deployment.say(_sentence(transfer))


def _sentence(transfer: Transfer) -> str:
    whole = "" if transfer.total is None else f" of {transfer.total / _MIB:.0f}"
    left = "" if transfer.left_s is None else f", {transfer.left_s} s left"
    return f"{transfer.done / _MIB:.0f}{whole} MiB are here, {transfer.rate / _MIB:.1f} MiB/s{left}."
