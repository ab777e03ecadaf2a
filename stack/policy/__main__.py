"""`python -m stack.policy --slot a [--root DIR]`: one slot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS, Layout
from stack.policy.node import run
from stack.policy.status import report


def main() -> int:
    """Parse, run, report. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stack.policy", description="Run the policy of one slot.")
    parser.add_argument("--slot", required=True, choices=SLOTS)
    parser.add_argument("--root", type=Path, default=None, help="robot root instead of /var/lib/homeport")
    arguments = parser.parse_args()
    try:
        return run(arguments.slot, Layout.at(arguments.root))
    except HomeportError as error:
        return report(error, str(error))


if __name__ == "__main__":
    sys.exit(main())
