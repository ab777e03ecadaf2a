"""Actions of every kind, thrown at the supervisor without ROS: no command may be non-finite, out of limits or too
steep.

Baseline: the seed's own clamp, `max(-1, min(1, x))`, which turns NaN into full speed.
"""

from __future__ import annotations

import math
import random
import struct
import sys
import time
from dataclasses import replace

from model_registry.core.cdr import MalformedMessageError
from stack.supervisor.actions import ActionMessage
from stack.supervisor.cdr import parse_trajectory
from stack.supervisor.limits import Command
from tests.bench.harness import FULL, noise, report
from tests.fakes.supervision import LIMITS, Bench

ACTIONS = 1_000_000 if FULL else 100_000
PER_TICK = 4
ODD = (math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0, 0.5, -0.5, 1.0, 1e9)


def value(chance: random.Random, odd: bool) -> float:
    """What a policy says, within and beyond the limits; when `odd`, also what none should say, and any 64 bits."""
    if not odd or chance.random() < 0.5:
        return chance.uniform(-0.7, 0.7)
    return chance.choice(ODD) if chance.random() < 0.6 else float(struct.unpack("d", chance.randbytes(8))[0])


def fuzzed(bench: Bench, chance: random.Random) -> tuple[str, ActionMessage]:
    """An action; one in thirty is odd in one way or several, or the robot would never be armed long enough to move."""
    slot, odd = chance.choice("ab"), chance.random() < 1 / 30

    def strange() -> bool:
        return odd and chance.random() < 0.3

    width = chance.randrange(4) if strange() else 2
    steps = 600 if strange() else chance.choice((1, 8, 16))
    values = tuple(tuple(value(chance, odd) for _ in range(width)) for _ in range(steps))
    bench.stamp_age_s = value(chance, odd) if strange() else 0.05
    bench.epoch += strange()
    older = strange()
    message = bench.message(slot, values, step_s=value(chance, odd) if strange() else 0.05)
    return slot, replace(message, header=message.header.replace("/", "/-" if odd else "/0", 1)) if older else message


def mutated(chance: random.Random, wire: bytes) -> None:
    """The reader of the bytes, with some of them changed: it may refuse, and nothing else."""
    data = bytearray(wire)
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        parse_trajectory(bytes(data[: chance.randrange(len(data) + 1)]))
    except MalformedMessageError:
        return


def violations(command: Command, last: Command) -> int:
    """How many rules a command breaks."""
    linear, angular = command
    if not (math.isfinite(linear) and math.isfinite(angular)):
        return 1
    out = (abs(linear) > LIMITS.linear) + (abs(angular) > LIMITS.angular)
    if command != (0.0, 0.0):
        out += abs(linear - last[0]) > LIMITS.linear_acceleration * 0.02 + 1e-9
        out += abs(angular - last[1]) > LIMITS.angular_acceleration * 0.02 + 1e-9
    return out


def wire() -> bytes:
    """A serialized action of 8 steps."""
    body = struct.pack("<iI", 5, 0) + struct.pack("<I", 4) + b"a/b\0"
    body += struct.pack("<I", 2) + b"".join(struct.pack("<I", 4) + b"lin\0" for _ in range(2)) + struct.pack("<I", 8)
    for index in range(8):
        body += (
            struct.pack("<II", 0, 2) + bytes(-(len(body) + 8) % 8) + struct.pack("<ddIIiI", 0.1, 0.2, 0, 0, 0, index)
        )
    return b"\0\1\0\0" + body


def main() -> int:
    chance, start_s = random.Random(1), time.monotonic()
    bench, message = Bench(), wire()
    parse_trajectory(message)
    bench.drive()
    last, broken, driven = bench.outputs[-1].command, 0, 0
    with noise() as quiet:
        for count in range(0, ACTIONS, PER_TICK):
            for _ in range(PER_TICK):
                bench.supervisor.actions.append(fuzzed(bench, chance))
                mutated(chance, message)
            output = bench.tick()
            broken += violations(output.command, last)
            last, driven = output.command, driven + (output.command != (0.0, 0.0))
            if not bench.supervisor.machine.armed and count % (10 * PER_TICK) == 0:
                bench.operator("reset")
                bench.operator("arm")
                last = bench.outputs[-1].command
                bench.outputs.clear()
    figures = {
        "actions": ACTIONS,
        "violations": broken,
        "ticks_in_motion": driven,
        "seconds": round(time.monotonic() - start_s, 1),
    }
    full = sum(max(-1.0, min(1.0, number)) == 1.0 for number in [math.nan] * 1000)
    report("fuzz_actions", {"fuzz_actions": figures}, {"seed_clamp": {"not_a_number": 1000, "full_speed": full}}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
