"""What one slot does, without ROS.

The newest inputs become action chunks, and every control tick takes the rest of the newest chunk.

`on_*` are called by the executor thread, `infer` by the inference thread, `action` by the control thread. How often it
infers, and with which model, is in `pace`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError
from stack.engine.backends import Tensor
from stack.policy.cdr import Frame, LaserScan, cv_bridge, frame, parse_image, parse_scan
from stack.policy.chunks import Chunk, Chunks
from stack.policy.hearing import SlotInputs
from stack.policy.inference import Inference, Observation
from stack.policy.pace import Pace
from stack.policy.profile import Profile
from stack.policy.sources import Command, Latest, Order
from stack.policy.ticks import Ticks


@dataclass(frozen=True)
class Action:
    """What one tick says: steps float32 [n, dims] from now on, or nothing and the reason.

    `stamp_ns` is ROS time, `advisory` the model's score of them.
    """

    steps: NDArray[np.float32] | None
    void_reason: str | None
    stamp_ns: int
    advisory: float | None = None


class Shown(NamedTuple):
    """A frame, and its tensor for one of the networks where that is made."""

    frame: Frame
    tensor: Tensor | None
    made_for: Inference


class Slot:
    """Inputs, chunks and the decisions of one slot.

    `small` is a smaller model for the same actions, loaded and warm, where there is one.

    Without `scan_stamps` or `camera_stamps` the stamps of that driver are not looked at, and age is by arrival alone.
    """

    def __init__(
        self,
        contract: Contract,
        profile: Profile,
        inference: Inference,
        small: Inference | None = None,
        *,
        scan_stamps: bool = True,
        camera_stamps: bool = True,
    ) -> None:
        most = [profile.limits.get(dim.name, np.inf) for dim in contract.dims]
        low = np.maximum([dim.min for dim in contract.dims], np.negative(most)).astype(np.float32)
        high = np.minimum([dim.max for dim in contract.dims], most).astype(np.float32)
        self.contract = contract
        self.profile = profile
        self._convert = cv_bridge()
        self.camera: Latest[Shown] = Latest(profile.camera_max_age_s, profile.frozen_frames, stamps=camera_stamps)
        self.scan: Latest[LaserScan] = Latest(profile.scan_max_age_s, stamps=scan_stamps)
        self.command: Latest[Order] = Latest(stamps=False)
        self.detections: Latest[bytes] = Latest(stamps=False)
        detections = self.detections if profile.detections else None
        self.hearing = SlotInputs(self.camera, self.scan, self.command, detections, inference.needs_scan)
        self.ticks = Ticks(1.0 / contract.control_hz)
        self.pace = Pace(contract, profile, self.camera, self.ticks, inference, small)
        self.chunks = Chunks(1.0 / contract.control_hz, contract.execute_steps, low, high)
        self.inferences = 0
        self.advisory: float | None = None
        self.slow = 0
        self._done: tuple[int, int] | None = None
        self._busy, self._preparing = False, threading.Lock()

    # Inputs

    def on_camera(self, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a sensor_msgs/Image, which arrived at `now` (monotonic s) and `ros_now_ns`."""
        try:
            image = parse_image(data)
            seen = frame(image, self._convert)
            with self._preparing:
                shown = Shown(seen, *self._prepare(seen, now))
                stamp_ns = image.stamp_ns if self.camera.stamps else ros_now_ns
                self.camera.put(shown, now, stamp_ns, mark=self.chunks.consumed, sample=seen.sample())
            self.pace.news()
        except HomeportError as error:
            self.camera.reject(error, now)

    def _prepare(self, seen: Frame, now: float) -> tuple[Tensor | None, Inference]:
        """Make the network's tensor at once when inference waits for this frame.

        One that inference may never look at is kept as it is.
        """
        inference = self.inference
        if self._busy or not self.pace.wanted(now):
            return None, inference
        start = time.monotonic()
        tensor = inference.image(*seen)
        inference.prepared.append((time.monotonic() - start) * 1e3)
        return tensor, inference

    def on_scan(self, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a sensor_msgs/LaserScan, which arrived at `now` (monotonic s) and `ros_now_ns`."""
        try:
            scan = parse_scan(data)
            self.scan.put(scan, now, scan.stamp_ns if self.scan.stamps else ros_now_ns, valid=scan.valid)
        except HomeportError as error:
            self.scan.reject(error, now)

    def on_detections(self, data: bytes, now: float) -> None:
        """Keep the bytes of a vision_msgs/Detection2DArray; no network takes them yet, and none waits for them."""
        self.detections.put(data, now, 0)

    def on_command(self, data: str, now: float) -> None:
        """Take a message on `/command`. One that cannot be read means no command: what it meant may have been stop."""
        try:
            command = Command.parse(data, now)
        except HomeportError as error:
            self.command.reject(error, now)
            command = Command("", None)
        moves = self.pace.full.tokenizer(command.text) is not None
        before = self.command.get()
        stood = before is None or not before.value.moves or not before.value.command.holds(now)
        generation = (before.value.generation if before else 0) + int(stood or not moves)
        self.command.put(Order(command, moves, generation), now, 0)
        self.pace.news()

    # Inference

    @property
    def inference(self) -> Inference:
        """The model that runs now."""
        return self.pace.inference

    def infer(self, now: float, ros_now_ns: int) -> bool:
        """Make a chunk from the newest inputs.

        Returns whether there was anything new to make one from, and it was due.
        """
        with self._preparing:
            self._busy = True
        try:
            return self._infer(now, ros_now_ns)
        finally:
            self._busy = False

    def _infer(self, now: float, ros_now_ns: int) -> bool:
        start = time.monotonic()
        order = self.command.get()
        seen = self.camera.get()
        scan = self.scan.get()
        inference = self.inference
        if not self.pace.due(now) or self._fault(now, ros_now_ns) or order is None or seen is None:
            return False
        if self._done == (seen.number, order.number):
            return False
        self.pace.begin(now)
        ahead = self.chunks.ahead(seen.mark, order.value.generation)
        text = order.value.command.text
        tensor = seen.value.tensor if seen.value.made_for is inference else None
        laser = scan.value if scan else None
        delay = self.chunks.delay_steps
        answer = inference(Observation(seen.value.frame, laser, text, ahead, delay, tensor))
        self._done = (seen.number, order.number)
        self.advisory = answer.advisory
        stamp_ns = min(seen.stamp_ns, scan.stamp_ns) if scan else seen.stamp_ns
        late = time.monotonic() - start > self.profile.max_cycle_s
        self.slow += int(late)
        if not late:  # what was seen too long ago is not acted on
            self.chunks.put(
                Chunk(answer.actions, seen.at, stamp_ns, order.value.generation, seen.mark, answer.advisory)
            )
        self.inferences += 1
        inference.note(time.monotonic() - start)
        return True

    # Control

    def action(self, now: float, ros_now_ns: int, periods: int = 1) -> Action:
        """What to publish at this tick, `periods` after the last one."""
        order = self.command.get()
        reason = self._fault(now, ros_now_ns)
        generation = order.value.generation if order and not reason else None
        rest = self.chunks.take(now, generation, periods)
        self.ticks.note(rest is None and generation is not None and self.chunks.dry(generation))
        if rest is None:
            return Action(None, reason or "no_chunk", ros_now_ns)
        return Action(rest.actions, None, rest.stamp_ns, rest.advisory)

    def sources(self, now: float, ros_now_ns: int) -> dict[str, object]:
        """The inputs in the slot status."""
        return self.hearing.document(now, ros_now_ns)

    def _fault(self, now: float, ros_now_ns: int) -> str | None:
        """Why there is nothing to say now."""
        order = self.command.get()
        if order is None or not order.value.command.text.strip():
            return "no_command"
        if not order.value.moves:
            return "command_without_motion"
        if not order.value.command.holds(now):
            return "command_expired"
        if fault := self.camera.fault(now, ros_now_ns):
            return f"camera_{fault}"
        if self.pace.full.needs_scan and (fault := self.scan.fault(now, ros_now_ns)):
            return f"scan_{fault}"
        return None
