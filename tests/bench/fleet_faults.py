"""The worst hour of a fleet on four bench robots: each case of tests/testbed/bench/fleet_cases.py, with what it took.

Words after the command pick cases. Each case says on stderr what was not as it should be. An interrupted run goes on
behind the last case that it has played.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from tests.bench.harness import FRESH, Noise, Trials, report
from tests.testbed.bench.fleet import NAMES, passing
from tests.testbed.bench.fleet_cases import CASES, play
from tests.testbed.bench.operations import Fleet, Outcome
from tests.testbed.engine import EngineError

BENCH, PART = "fleet_faults", "cases"
ROBOTS = NAMES[:4]


def told(outcome: Outcome) -> str:
    """One line about a case."""
    figures = ", ".join(f"{name} {value:g}" for name, value in outcome.figures.items())
    return f"{outcome.case}: {'ok' if outcome.ok else 'NOT OK'} ({figures}) {'; '.join(outcome.wrong)}"


def main(words: list[str]) -> int:
    wanted = [case for case in CASES if not words or case in words]
    trials = Trials(BENCH, fresh=FRESH or bool(words))
    known = {each["case"] for each in trials.kept(PART)}
    with trials.noise():
        try:
            with passing("homeport-fleet-faults") as bench:
                bench.up(ROBOTS)
                fleet = Fleet(bench)
                fleet.prepare()
                for case in (case for case in wanted if case not in known):
                    outcome = play(fleet, case)
                    print(told(outcome), file=sys.stderr, flush=True)
                    trials.keep(PART, asdict(outcome))
        except EngineError as error:
            print(f"not run: {error}", file=sys.stderr)
            report(BENCH, {}, {}, Noise(), ran=False)
            return 0
    outcomes = [Outcome(**each) for each in trials.kept(PART)]
    ok = sum(outcome.ok for outcome in outcomes)
    figures = {outcome.case: outcome.figures for outcome in outcomes}
    trials.report({BENCH: {"cases": len(outcomes), "ok": ok}, **figures}, {})
    return int(ok != len(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
