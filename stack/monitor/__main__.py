"""`python -m stack.monitor [--root DIR]`: watch one robot until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model_registry.core.layout import Layout
from stack.monitor.node import run


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="homeport-monitor", description="Says on /diagnostics how the robot is.")
    parser.add_argument("--root", type=Path, help="move every path below this folder (default: the robot's own)")
    return run(Layout.at(parser.parse_args().root))


if __name__ == "__main__":
    sys.exit(main())
