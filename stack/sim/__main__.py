"""`python -m stack.sim`: one simulated robot on the real topics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from model_registry.core.errors import HomeportError, UsageError
from stack.sim.scene import COLORS, LAYOUTS, build, color_in
from stack.sim.world import World


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stack.sim", description="A simulated mobile base on ROS 2 topics.")
    parser.add_argument("--seed", type=int, default=0, help="of the layout and the sensor noise")
    parser.add_argument("--layout", choices=LAYOUTS, default="random")
    parser.add_argument("--size", type=float, nargs=2, default=(8.0, 8.0), metavar=("X", "Y"), help="of the room, m")
    parser.add_argument(
        "--respawn",
        metavar="TEXT",
        help=f"move the pillar that this command names ({', '.join(COLORS)}) whenever the robot comes near it",
    )
    parser.add_argument("--camera-hz", type=float, default=15.0, help="how often the camera sends a frame")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="append the true state there, one JSON line at 5 Hz")
    return parser.parse_args()


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    options = _parse()
    try:
        if not 0.1 <= options.camera_hz <= 50.0:
            raise UsageError(f"--camera-hz {options.camera_hz:g}: expected 0.1 to 50")
        respawn = color_in(options.respawn or "")
        if options.respawn and respawn is None:
            raise UsageError(f"--respawn {options.respawn!r}: names no colour; use one of {', '.join(COLORS)}")
        rng = np.random.default_rng(options.seed)
        world = World(build(options.layout, rng, tuple(options.size)), rng, respawn)
        from stack.sim.node import run  # ROS: only once the request is known to be good

        run(world, options.seed, options.trace, options.camera_hz)
    except HomeportError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
