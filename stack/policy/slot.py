"""What one slot does, without ROS: the newest inputs become action chunks, and every control tick takes the rest of the newest chunk.

`on_*` are called by the executor thread, `infer` by the inference thread, `action` by the control thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError
from stack.policy.cdr import Scan, parse_image, parse_scan, rgb
from stack.policy.chunks import Chunk, Chunks
from stack.policy.inference import Inference
from stack.policy.profile import Profile
from stack.policy.sources import Command, Latest
from stack.policy.ticks import Ticks

LARGEST_ACTION = 1.0  # m/s and rad/s: what every profile of the seed clamps to, whatever a contract allows


@dataclass(frozen=True)
class Order:
    """A command with its tokens; None when it must not move the robot."""

    command: Command
    tokens: NDArray[np.int64] | None
    generation: int


@dataclass(frozen=True)
class Action:
    """What one tick says: steps float32 [n, dims] from now on, or nothing and the reason. `stamp_ns` is ROS time."""

    steps: NDArray[np.float32] | None
    void_reason: str | None
    stamp_ns: int


class Slot:
    """Inputs, chunks and the decisions of one slot."""

    def __init__(self, contract: Contract, profile: Profile, inference: Inference) -> None:
        low = np.asarray([max(dim.min, -LARGEST_ACTION) for dim in contract.dims], dtype=np.float32)
        high = np.asarray([min(dim.max, LARGEST_ACTION) for dim in contract.dims], dtype=np.float32)
        self.contract, self.profile, self.inference = contract, profile, inference
        self.camera: Latest[NDArray[np.uint8]] = Latest(profile.camera_max_age_s)
        self.scan: Latest[Scan] = Latest(profile.scan_max_age_s)
        self.command: Latest[Order] = Latest()
        self.ticks = Ticks(1.0 / contract.control_hz)
        self.chunks = Chunks(1.0 / contract.control_hz, contract.execute_steps, low, high)
        self._news = threading.Event()
        self._done: tuple[int, int] | None = None

    def on_camera(self, data: bytes, now: float) -> None:
        """Take the bytes of a sensor_msgs/Image."""
        try:
            image = parse_image(data)
            self.camera.put(rgb(image), now, image.stamp_ns)
            self._news.set()
        except HomeportError as error:
            self.camera.reject(error)

    def on_scan(self, data: bytes, now: float) -> None:
        """Take the bytes of a sensor_msgs/LaserScan."""
        try:
            scan = parse_scan(data)
            self.scan.put(scan, now, scan.stamp_ns)
        except HomeportError as error:
            self.scan.reject(error)

    def on_command(self, data: str, now: float) -> None:
        """Take a message on `/command`. One that cannot be read means no command: what it meant may have been stop."""
        try:
            command = Command.parse(data, now)
        except HomeportError as error:
            self.command.reject(error)
            command = Command("", None)
        tokens = self.inference.tokenizer(command.text)
        before = self.command.get()
        stood = before is None or before.value.tokens is None or not before.value.command.holds(now)
        generation = (before.value.generation if before else 0) + int(stood or tokens is None)
        self.command.put(Order(command, tokens, generation), now, 0)
        self._news.set()

    def wait_for_news(self, timeout_s: float) -> None:
        """Wait until there is a new frame or command."""
        if self._news.wait(timeout_s):
            self._news.clear()

    def infer(self, now: float, ros_now_ns: int) -> bool:
        """Make a chunk from the newest inputs. Returns whether there was anything new to make one from."""
        order, frame, scan = self.command.get(), self.camera.get(), self.scan.get()
        if self._fault(now, ros_now_ns) or order is None or order.value.tokens is None or frame is None:
            return False
        if self._done == (frame.number, order.number):
            return False
        actions = self.inference(frame.value, scan.value if scan else None, order.value.tokens)
        self._done = (frame.number, order.number)
        oldest_ns = min(frame.stamp_ns, scan.stamp_ns) if scan else frame.stamp_ns
        self.chunks.put(Chunk(actions, frame.at, oldest_ns, order.value.generation))
        return True

    def action(self, now: float, ros_now_ns: int) -> Action:
        """What to publish at this tick."""
        order = self.command.get()
        reason = self._fault(now, ros_now_ns)
        rest = self.chunks.rest(now, order.value.generation) if order and not reason else None
        if rest is None:
            return Action(None, reason or "no_chunk", ros_now_ns)
        return Action(rest.actions, None, rest.stamp_ns)

    def sources(self, now: float) -> dict[str, object]:
        """The inputs in the slot status."""
        return {name: getattr(self, name).to_dict(now) for name in ("camera", "scan", "command")}

    def _fault(self, now: float, ros_now_ns: int) -> str | None:
        order = self.command.get()
        if order is None or not order.value.command.text.strip():
            return "no_command"
        if order.value.tokens is None:
            return "command_without_motion"
        if not order.value.command.holds(now):
            return "command_expired"
        if fault := self.camera.fault(now, ros_now_ns):
            return f"camera_{fault}"
        if self.inference.needs_scan and (fault := self.scan.fault(now, ros_now_ns)):
            return f"scan_{fault}"
        return None
