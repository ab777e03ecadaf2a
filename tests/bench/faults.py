"""Every fault of tests/testbed/faults.py on a driving robot: its state and reason afterwards, its time to zero against
its bar, and nothing resumes.

Without FULL=1 only those that are tests as well. Baseline: the seed's node disengages 50 ms after any reason has
passed, so that it resumes by itself after every one of them.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from tests.bench.harness import FULL, noise, real_time, report
from tests.testbed.faults import CASES, QUICK, clock_outcomes, policy_outcomes
from tests.testbed.injection import Outcome, run
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot


def line(outcome: Outcome) -> str:
    """One row of the table."""
    case = outcome.case
    verdict = "ok" if outcome.ended_right and outcome.in_time else "NOT OK"
    took = "drives on" if outcome.zero_ms is None else f"{outcome.zero_ms:.0f} ms"
    bar = f"gap {outcome.largest_gap_ms:.0f} ms" if case.bar_ms is None else f"of {case.bar_ms:.0f}"
    reasons = ",".join(reason for reason in outcome.reasons if reason)
    return f"{case.name:38} {outcome.state:10} {reasons:24} {took:>10} {bar:>12}  {verdict}"


def main(names: list[str]) -> int:
    real_time()
    outcomes: list[Outcome] = []
    wanted = [case for case in CASES if case.name in (names or (QUICK if not FULL else [case.name]))]
    with noise() as quiet, ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        robot = stack.enter_context(PlayedRobot(Path(folder) / "robot"))
        heard = stack.enter_context(Listening(robot))
        for case in wanted:
            outcomes.append(run(robot, heard, case))
            print(line(outcomes[-1]), file=sys.stderr, flush=True)
        others = [clock_outcomes(), policy_outcomes(Path(folder) / "policy")] if not names else []
        for outcome in chain.from_iterable(others):
            outcomes.append(outcome)
            print(line(outcome), file=sys.stderr, flush=True)
    stopped = [outcome for outcome in outcomes if outcome.case.bar_ms is not None]
    figures = {
        "cases": len(outcomes),
        "ok": sum(outcome.ended_right and outcome.in_time for outcome in outcomes),
        "ended_right": sum(outcome.ended_right for outcome in outcomes),
        "auto_resumed": sum(outcome.resumed for outcome in outcomes),
    }
    report("faults", {"faults": figures}, {"seed_node": {"cases": len(stopped), "auto_resumed": len(stopped)}}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
