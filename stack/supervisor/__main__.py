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
from stack.supervisor.logs import Logs
from stack.supervisor.node import run
from stack.supervisor.priority import become_real_time

log = logging.getLogger("homeport.supervisor")
FLUSH_S = 0.5


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="homeport-supervisor", description="The only writer of /cmd_vel.")
    parser.add_argument("--root", type=Path, help="move every path below this folder (default: the robot's own)")
    options = parser.parse_args()
    logs = Logs()
    scheduler = become_real_time()
    logs.start()
    try:
        said = os.environ.get("ROS_DOMAIN_ID") or "0"
        check_domain(int(said) if said.isdecimal() else -1, f"ROS_DOMAIN_ID={said}")
        return run(Layout.at(options.root), scheduler, logs.terminal)
    except HomeportError as error:
        log.error("error: %s", error)  # noqa: TRY400
        return error.exit_code
    finally:
        logs.end(FLUSH_S)


if __name__ == "__main__":
    sys.exit(main())
