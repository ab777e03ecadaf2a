"""`python -m stack.sim`: one simulated robot on the real topics."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from model_registry.core.errors import HomeportError, UsageError
from stack.sim.scene import COLORS, LAYOUTS, Pose, color_in


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack.sim", description="A simulated mobile base on ROS 2 topics.")
    parser.add_argument("--seed", type=int, default=0, help="of the layout and the sensor noise")
    parser.add_argument("--layout", choices=LAYOUTS, default="random")
    parser.add_argument("--size", type=float, nargs=2, default=(8.0, 8.0), metavar=("X", "Y"), help="of the room, m")
    parser.add_argument("--pose", metavar="X,Y,THETA", help="start there instead (m, rad)")
    parser.add_argument(
        "--respawn",
        metavar="TEXT",
        help=f"move the pillar that this command names ({', '.join(COLORS)}) elsewhere whenever the robot comes near it",
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="append the true state there, one JSON line at 5 Hz")
    return parser.parse_args(arguments)


def _pose(text: str) -> Pose:
    try:
        x, y, theta = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--pose {text!r}: expected three numbers as X,Y,THETA") from error
    if not all(map(math.isfinite, (x, y, theta))):
        raise UsageError(f"--pose {text!r}: expected finite numbers")
    return Pose(x, y, theta)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    options = _parse(sys.argv[1:])
    try:
        respawn = color_in(options.respawn) if options.respawn else None
        if options.respawn and respawn is None:
            raise UsageError(f"--respawn {options.respawn!r}: names no colour; use one of {', '.join(COLORS)}")
        from stack.sim.node import Settings, run

        pose = _pose(options.pose) if options.pose else None
        run(Settings(options.seed, options.layout, tuple(options.size), pose, respawn, options.trace))
    except HomeportError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
