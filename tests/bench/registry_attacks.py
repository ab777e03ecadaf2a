"""Attacks on what a robot believes and on what a source may answer, by name: `registry_attacks{cases, refused}`.

Those against the agent are played on a robot that drives; it has to refuse each of them in one line, know what it knew
and drive what it drove. Those of sources and packers have to leave nothing behind. Baseline: how many of the
spoiled manifests among them the standard library's reader of JSON takes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.harness import noise, report
from tests.fakes.rig import Rig
from tests.testbed import attacks_agent, attacks_source


def main() -> int:
    wrong: dict[str, str] = {}
    with noise() as quiet, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "agent").mkdir()
        with Rig(folder / "agent") as rig:
            robot = attacks_agent.AttackedRobot(rig)
            for attack, play in attacks_agent.ATTACKS.items():
                if (why := attacks_agent.refused(robot, play)) is not None:
                    wrong[attack] = why
        for number, (attack, try_it) in enumerate(attacks_source.ATTACKS.items()):
            (folder / str(number)).mkdir()
            if (why := attacks_source.refused(folder / str(number), try_it)) is not None:
                wrong[attack] = why
    for attack, why in wrong.items():
        print(f"{attack}: {why}", file=sys.stderr)
    cases = len(attacks_agent.ATTACKS) + len(attacks_source.ATTACKS)
    figures: dict[str, object] = {"cases": cases, "refused": cases - len(wrong)}
    figures |= {"agent_cases": len(attacks_agent.ATTACKS), "source_cases": len(attacks_source.ATTACKS)}
    taken = attacks_source.JSON_TAKES
    baselines: dict[str, object] = {"manifests": len(taken), "manifests_json_takes": sum(taken)}
    report("registry_attacks", figures, baselines, quiet)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
