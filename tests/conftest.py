"""Where tests write, what a test run says while it goes on, and what it leaves behind: nothing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from tests.run_folders import cleaned

RAM = Path("/dev/shm")
ROOM = 8 << 30
LONGEST_REASON = 300
MATRIX = "test_every_point_ends_on_the_old_release_or_the_new_one"
RUN = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", action="store_true", help="of the fault matrix, play each fault once in each scenario")


def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders in memory where there is room for them, and programs may start: most of what tests write they
    also sync.

    `--basetemp` or PYTEST_DEBUG_TEMPROOT=/tmp name another place.
    """
    settings.register_profile("homeport", deadline=None)  # an example takes as long as the machine lets it
    settings.load_profile("homeport")
    config.stash[RUN] = ExitStack()
    config.stash[RUN].enter_context(cleaned())
    if RAM.is_dir() and os.access(RAM, os.W_OK):
        found = os.statvfs(RAM)
        room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
        if room >= ROOM and not found.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(RAM))


def pytest_sessionstart(session: pytest.Session) -> None:
    """A worker reports to the process that started it, and has nobody to announce to."""
    plugins = session.config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(session.config, "workerinput"):
        plugins.register(Announcer(reporter))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash.get(RUN, ExitStack()).close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --sample, leave of the fault matrix the first point of each pair of scenario and fault."""
    if not config.getoption("--sample"):
        return
    seen: set[tuple[str, str]] = set()
    left_out = []
    for item in items:
        if getattr(item, "originalname", "") != MATRIX:
            continue
        point = item.callspec.params["point"]  # type: ignore[attr-defined]
        pair = (point.scenario, point.fault)
        if pair in seen:
            left_out.append(item)
        seen.add(pair)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why it failed, in one line of about LONGEST_REASON characters: how that begins, and how it ends."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = getattr(crash, "message", "") or report.longreprtext[-LONGEST_REASON:]
    line = " ".join(said.split())
    if len(line) <= LONGEST_REASON:
        return line
    return f"{line[: LONGEST_REASON // 2]} … {line[-LONGEST_REASON // 2 :]}"


class Announcer:
    """Names a failure with its reason when it happens, and says how much of the fault matrix was played."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.write_line(f"\nFAILED {report.nodeid} ({report.when}): {reason(report)}", red=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._reporter.write_line(f"\nFAILED {report.nodeid} (collect): {reason(report)}", red=True)

    def pytest_terminal_summary(self) -> None:
        ended = {
            outcome: sum(f"::{MATRIX}[" in report.nodeid for report in self._reporter.getreports(outcome))
            for outcome in ("passed", "failed")
        }
        if not any(ended.values()):
            return
        from tests.testbed.scenarios import points

        self._reporter.write_line(
            f"Fault matrix: {ended['passed']} of {len(points())} points passed, {ended['failed']} failed"
        )
