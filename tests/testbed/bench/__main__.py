"""`make fleet-up N=2` and `make fleet-down`: robots that are containers, a registry, and the commands to type next."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.testbed.bench import desk
from tests.testbed.bench.fleet import NAMES, Bench
from tests.testbed.engine import EngineError

FOLDER = Path("build/bench")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.bench", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"))
    parser.add_argument("--robots", type=int, default=2, metavar="N", help=f"1 to {len(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print the state as JSON instead of the next commands")
    options = parser.parse_args()
    if not 1 <= options.robots <= len(NAMES):
        parser.error(f"--robots {options.robots}: expected 1 to {len(NAMES)}")
    return options


def main() -> int:
    options, start = parse(), time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {text}", file=sys.stderr, flush=True)

    bench = Bench(FOLDER, say=say)
    try:
        if options.verb == "down":
            bench.down()
            say("Nothing is left")
            return 0
        bench.up(NAMES[: options.robots])
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    except AssertionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say(f"{len(bench.robots)} robots are ready")
    print(json.dumps(bench.state, indent=2) if options.json else next_commands(bench))
    return 0


def next_commands(bench: Bench) -> str:
    """What to type next, exactly."""
    where = f"INVENTORY={FOLDER / 'inventory'}"
    lines = [f"make deploy {where} RELEASE={digest}   # {name}" for name, digest in bench.releases.items()]
    lines += [f"make status {where}", f"make rollback {where}"]
    first = next(iter(bench.robots))
    lines += [
        f"source {FOLDER / desk.ENVIRONMENT}   # so that make and homeport know the fleet, its registry and its key"
    ]
    lines += [
        f"ssh -F {FOLDER / desk.SSH_CONFIG} {first}",
        "make fleet-down   # docs/tutorial.md tells what lies between",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
