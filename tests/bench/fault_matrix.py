"""Every edge of the journal × every fault, on a stand-in robot.

No point may end on anything but the old or the new release, verified and told.

`SABOTAGE=no_fsync|no_gate|no_crc` takes one safeguard away: then it must fail, and stops at the first point that does.
Words after the command pick points (`switch`, `COMMIT`, `power_cut`). Baseline: Mender's 33 kill cases in its own unit
tests.

`boot_recovery` is what the unit homeport-recovery adds to a boot, at every record that a power cut can leave as the
last one of a long journal.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stack.agent.build import archive
from tests.bench.harness import ROOT, noise, report
from tests.fakes.disk import Image, write_image
from tests.fakes.stand_in import StandIn
from tests.testbed.edges import SABOTAGE, Outcome, Range
from tests.testbed.scenarios import SCENARIOS, points

LONG_BYTES = 1 << 20


def play(words: list[str]) -> list[Outcome]:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, StandIn(Path(folder)) as robot:
        robot.prepare()
        played = Range(robot)
        for point in points():
            if all(word in str(point) for word in words):
                outcomes.append(played.play(point))
                if not outcomes[-1].ok:
                    print(f"{point}: {'; '.join(outcomes[-1].wrong) or 'the fault did not fire'}", flush=True)
                    if SABOTAGE:
                        break
    return outcomes


def boots() -> list[float]:
    """Seconds of both programs of the unit, with the packed agent and its source away."""
    with tempfile.TemporaryDirectory() as folder, StandIn(Path(folder)) as robot:
        robot.prepare()
        agent = Path(folder) / "homeport-agent"
        agent.write_bytes(archive())
        agent.chmod(0o755)
        cuts = [cut for scenario in SCENARIOS.values() for cut in Range(robot).cuts(scenario)]
        robot.cut_off()
        return [boot(robot, agent, cut) for cut in cuts]


def boot(robot: StandIn, agent: Path, image: Image) -> float:
    robot.power_off()
    write_image(robot.root, image)
    journal = robot.layout.journal
    if journal.exists():
        whole = b"".join(line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n"))
        journal.write_bytes(whole * (LONG_BYTES // max(1, len(whole))) + journal.read_bytes())
    began = time.monotonic()
    subprocess.run(["sh", str(ROOT / "stack/agent/shell/update.sh"), "--settle", "--agent", str(agent)], check=True)
    done = subprocess.run([str(agent), "--root", str(robot.root), "recover"], capture_output=True, text=True)
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    return seconds


def main(words: list[str]) -> int:
    with noise() as quiet:
        outcomes = play(words)
        seconds_of_boots = [] if SABOTAGE else boots()
    seconds = [outcome.seconds for outcome in outcomes]
    played = {
        outcome.point.scenario: [each.seconds for each in outcomes if each.point.scenario == outcome.point.scenario]
        for outcome in outcomes
    }
    figures = {
        "points": len(outcomes),
        "fired": sum(outcome.fired for outcome in outcomes),
        "ok": sum(outcome.ok for outcome in outcomes),
        "boots": sum(outcome.states for outcome in outcomes),
        "median_s": round(statistics.median(seconds), 2),
        "median_s_by_scenario": {name: round(statistics.median(each), 2) for name, each in played.items()},
        "longest_s": round(max(seconds), 2),
    }
    histogram = Counter(outcome.point.fault for outcome in outcomes if outcome.ok)
    boot_recovery = {"boots": len(seconds_of_boots), "longest_s": round(max(seconds_of_boots, default=0.0), 2)}
    found = {"fault_matrix": figures, "ok_by_fault": dict(histogram), "boot_recovery": boot_recovery}
    report("fault_matrix", found, {"mender_kill_cases": 33}, quiet)
    return int(figures["ok"] != figures["points"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
