"""What one slot does, without ROS.

The newest inputs become action chunks, and every control tick takes the rest of the newest chunk.

`on_*` are called by the executor thread, `infer` by the inference thread, `action` by the control thread. How often it
infers, and with which model, is in `pace`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError
from stack.engine.observing import Frame, Tensor
from stack.engine.words import stops
from stack.policy.cdr import cv_bridge, frame, parse_image, parse_joints, parse_scan, parse_speeds
from stack.policy.chunks import Chunk, Chunks
from stack.policy.hearing import SlotInputs
from stack.policy.inference import TimedInference
from stack.policy.pace import Pace
from stack.policy.profile import Profile
from stack.policy.sensing import SlotSources, SourceWiring
from stack.policy.sources import Command, Latest, Order, Received
from stack.policy.ticks import Ticks


@dataclass(frozen=True)
class TickAction:
    """What one tick says: steps float32 [n, dims] from now on, or nothing and the reason.

    `stamp_ns` is ROS time, `advisory` the model's score of them.
    """

    steps: NDArray[np.float32] | None
    void_reason: str | None
    stamp_ns: int
    advisory: float | None = None


class Shown(NamedTuple):
    """A frame, and what was prepared of it for one of the networks: the model's camera → its tensor."""

    frame: Frame
    tensors: Mapping[str, Tensor]
    made_for: TimedInference


class Slot:
    """Inputs, chunks and the decisions of one slot.

    `small` is a smaller model for the same actions, loaded and warm, where there is one. `wiring` says which sources of
    the robot give what the contract wants. `seed` decides the noise, where the model wants some.
    """

    def __init__(
        self,
        contract: Contract,
        profile: Profile,
        inference: TimedInference,
        small: TimedInference | None = None,
        *,
        wiring: SourceWiring | None = None,
        seed: int = 0,
    ) -> None:
        action = contract.action
        most = [profile.limits.get(dim.name, np.inf) for dim in action.dims]
        low = np.maximum([dim.min for dim in action.dims], np.negative(most)).astype(np.float32)
        high = np.minimum([dim.max for dim in action.dims], most).astype(np.float32)
        self.contract = contract
        self.profile = profile
        wiring = wiring or SourceWiring.plain(contract)
        self.sources = SlotSources(contract, profile, wiring)
        self.command: Latest[Order] = Latest(stamps=False)
        self.detections: Latest[bytes] = Latest(stamps=False)
        self.hearing = SlotInputs(
            self.sources.named,
            self.sources.needed,
            self.command,
            self.detections if profile.detections else None,
            words=contract.observation.text is not None,
        )
        steps = action.usable_steps(wiring.oldest_s)
        self.ticks = Ticks(1.0 / action.control_hz)
        self.pace = Pace(steps, profile, self.sources.leading, self.ticks, inference, small)
        self.chunks = Chunks(1.0 / action.control_hz, steps, low, high)
        self._longest_s = min(profile.max_cycle_s, wiring.oldest_s)
        self.inferences = 0
        self.advisory: float | None = None
        self.slow = 0
        self._convert = cv_bridge()
        self.seed = seed
        self._done: tuple[int, int] | None = None
        self._busy = False
        self._preparing = threading.Lock()

    # Inputs

    def on_camera(self, name: str, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a sensor_msgs/Image of the robot's camera `name`, which arrived at `now` (monotonic s) and
        `ros_now_ns`.
        """
        camera = self.sources.cameras[name]
        try:
            image = parse_image(data)
            seen = frame(image, self._convert)
            with self._preparing:
                shown = Shown(seen, *self._prepare(name, seen, now))
                stamp_ns = image.stamp_ns if camera.stamps else ros_now_ns
                # First what looks back: who sees that a frame has come may look at once.
                self.sources.remember_frame(name, seen, now)
                camera.put(shown, now, stamp_ns, mark=self.chunks.consumed, sample=seen.sample())
            self._news_of(camera)
        except HomeportError as error:
            camera.reject(error, now)

    def _prepare(self, name: str, seen: Frame, now: float) -> tuple[Mapping[str, Tensor], TimedInference]:
        """Make the network's tensors at once when inference waits for this frame.

        One that inference may never look at is kept as it is.
        """
        inference = self.inference
        wanted = self.sources.shown_singly(name)
        if self._busy or not wanted or not self.pace.wanted(now):
            return {}, inference
        start = time.monotonic()
        tensors = {camera: inference.image(camera, seen) for camera in wanted}
        inference.prepared.append((time.monotonic() - start) * 1e3)
        return tensors, inference

    def on_scan(self, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a sensor_msgs/LaserScan, which arrived at `now` (monotonic s) and `ros_now_ns`."""
        source = self.sources.scan
        try:
            scan = parse_scan(data)
            stamp_ns = scan.stamp_ns if source.stamps else ros_now_ns
            source.put(scan, now, stamp_ns, mark=self.chunks.consumed, valid=scan.valid)
            self._news_of(source)
        except HomeportError as error:
            source.reject(error, now)

    def on_joints(self, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a sensor_msgs/JointState, which arrived at `now` (monotonic s) and `ros_now_ns`."""
        source = self.sources.joints
        try:
            message = parse_joints(data)
            if self.sources.body.hear_joints(message, now):
                self._keep_state(source, message.stamp_ns, now, ros_now_ns)
        except HomeportError as error:
            source.reject(error, now)

    def on_odom(self, data: bytes, now: float, ros_now_ns: int) -> None:
        """Take the bytes of a nav_msgs/Odometry, which arrived at `now` (monotonic s) and `ros_now_ns`."""
        source = self.sources.odom
        try:
            message = parse_speeds(data)
            self.sources.body.hear_speeds(message, now)
            self._keep_state(source, message.stamp_ns, now, ros_now_ns)
        except HomeportError as error:
            source.reject(error, now)

    def _keep_state(self, source: Latest[None], stamp_ns: int, now: float, ros_now_ns: int) -> None:
        self.sources.remember_state(now)
        source.put(None, now, stamp_ns if source.stamps else ros_now_ns, mark=self.chunks.consumed)
        self._news_of(source)

    def _news_of(self, source: Latest[Any]) -> None:
        if source is self.sources.leading:
            self.pace.news()

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
        moves = self._moves(command.text)
        before = self.command.get()
        stood = before is None or not before.value.moves or not before.value.command.holds(now)
        generation = (before.value.generation if before else 0) + int(stood or not moves)
        self.command.put(Order(command, moves, generation), now, 0)
        self.pace.news()

    def _moves(self, text: str) -> bool:
        """Whether words may move the robot. A policy without words is moved by any that do not mean stop, and by none
        at all.
        """
        if self.contract.observation.text is None:
            return bool(text.strip()) and not stops(text)
        return self.pace.full.moves(text)

    # Inference

    @property
    def inference(self) -> TimedInference:
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
        leading = self.sources.leading.get()
        if not self.pace.due(now) or self._fault(now, ros_now_ns) or leading is None:
            return False
        number, generation, text = _read(order)
        if self._done == (leading.number, number):
            return False
        self.pace.begin(now)
        inference = self.inference
        ahead = self.chunks.ahead(leading.mark, generation)
        seen, stamp_ns = self.sources.observe(inference, text, ahead, self.chunks.delay_steps, self.seed)
        answer = inference(seen)
        self._done = (leading.number, number)
        self.advisory = answer.advisory
        late = time.monotonic() - start > self._longest_s
        self.slow += int(late)
        if not late:  # what was seen too long ago is not acted on
            self.chunks.put(Chunk(answer.actions, leading.at, stamp_ns, generation, leading.mark, answer.advisory))
        self.inferences += 1
        inference.note(time.monotonic() - start)
        return True

    # Control

    def action(self, now: float, ros_now_ns: int, periods: int = 1) -> TickAction:
        """What to publish at this tick, `periods` after the last one."""
        order = self.command.get()
        reason = self._fault(now, ros_now_ns)
        generation = None if reason else _read(order)[1]
        rest = self.chunks.take(now, generation, periods)
        self.ticks.note(rest is None and generation is not None and self.chunks.dry(generation))
        if rest is None:
            return TickAction(None, reason or "no_chunk", ros_now_ns)
        return TickAction(rest.actions, None, rest.stamp_ns, rest.advisory)

    def inputs(self, now: float, ros_now_ns: int) -> dict[str, object]:
        """The inputs in the slot status."""
        return self.hearing.document(now, ros_now_ns)

    def _fault(self, now: float, ros_now_ns: int) -> str | None:
        """Why there is nothing to say now."""
        order = self.command.get()
        if order is None:
            waits = self.contract.observation.text is not None
            return "no_command" if waits else self.sources.fault(now, ros_now_ns)
        if not order.value.command.text.strip():  # its life is over, or it could not be read
            return "no_command"
        if not order.value.moves:
            return "command_without_motion"
        if not order.value.command.holds(now):
            return "command_expired"
        return self.sources.fault(now, ros_now_ns)


def _read(order: Received[Order] | None) -> tuple[int, int, str]:
    """Number, generation and words of a command; those of none."""
    if order is None:
        return 0, 0, ""
    return order.number, order.value.generation, order.value.command.text
