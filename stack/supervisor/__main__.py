"""`python -m stack.supervisor [--root DIR]`: run the supervisor of one robot until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from model_registry.core.domain import check_domain
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from stack.supervisor.node import run

log = logging.getLogger("homeport.supervisor")


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="homeport-supervisor", description="The only writer of /cmd_vel.")
    parser.add_argument("--root", type=Path, help="move every path below this folder (default: the robot's own)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        said = os.environ.get("ROS_DOMAIN_ID") or "0"
        check_domain(int(said) if said.isdecimal() else -1, f"ROS_DOMAIN_ID={said}")
        return run(Layout.at(options.root))
    except HomeportError as error:
        log.error("error: %s", error)  # noqa: TRY400
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
