"""The sensors of a slot by name, and the observation that one inference sees of them.

A source is called like the robot calls it: `camera_front`, `scan`, `joints`, `odom`. What the contract's cameras are
called, and which joints its state wants, the plan of model and robot says (`model_registry/core/plan.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.plan import Plan, StateNumber
from model_registry.core.robot import ACTION_MAX_AGE_S, Robot
from stack.engine.observing import Frame, LaserScan, Observation, Steps
from stack.policy.body import JOINTS, ODOM, BodyState
from stack.policy.faults import CAMERA
from stack.policy.history import History
from stack.policy.inference import TimedInference
from stack.policy.profile import Profile
from stack.policy.sources import Latest

SCAN = "scan"
_STATE_MAX_AGE_S = 0.5


@dataclass(frozen=True)
class Listening:
    """How one source is listened to; `max_age_s` None: as the profile says."""

    stamps: bool = True
    max_age_s: float | None = None


@dataclass(frozen=True)
class SourceWiring:
    """`cameras`: the model's name → the robot's; `state`: where its numbers come from; `settings` by source.

    `oldest_s`: how old an observation may be when an action is carried out.
    """

    cameras: Mapping[str, str]
    state: tuple[StateNumber, ...] = ()
    settings: Mapping[str, Listening] = field(default_factory=dict)
    oldest_s: float = ACTION_MAX_AGE_S

    @classmethod
    def plain(cls, contract: Contract) -> SourceWiring:
        """A robot of which nothing is known: its cameras are called as the model calls them."""
        state = contract.observation.state
        parts = () if state is None else state.parts
        fields = {"joint_velocity": "velocity", "effort": "effort", "base_velocity": "base_velocity"}
        numbers = [StateNumber(fields.get(part.of, "position"), name) for part in parts for name in part.names]
        return cls({name: name for name in contract.observation.cameras}, tuple(numbers))

    @classmethod
    def of(cls, contract: Contract, robot: Robot) -> SourceWiring:
        """As robot.toml says. Raises IncompatibleError when the model does not fit."""
        plan = Plan.of(contract, robot)
        plan.check(contract, robot)
        sensors = robot.sensors
        settings = {
            SCAN: Listening(robot.sources["scan"].stamps),
            ODOM: Listening(robot.sources["odom"].stamps),
        }
        for name, camera in sensors.cameras.items():
            age_s = None if camera.max_age_ms is None else camera.max_age_ms / 1e3
            settings[CAMERA + name] = Listening(camera.stamps, age_s)
        if sensors.joints_source is not None:
            source = sensors.joints_source
            settings[JOINTS] = Listening(source.stamps, source.max_age_ms / 1e3)
        return cls(plan.cameras, plan.state, settings, robot.safety.action_max_age_s)


class SlotSources:
    """`leading` is the one whose messages start inferences: the first camera, or else scan, joints or odometry."""

    def __init__(self, contract: Contract, profile: Profile, wiring: SourceWiring) -> None:
        recipes = contract.observation
        self._recipes = recipes
        self._wiring = wiring
        own = dict.fromkeys(wiring.cameras.values())
        self.cameras: dict[str, Latest[Any]] = {
            name: self._latest(CAMERA + name, profile.camera_max_age_s, profile.frozen_frames) for name in own
        }
        self.scan: Latest[LaserScan] = self._latest(SCAN, profile.scan_max_age_s)
        self.joints: Latest[None] = self._latest(JOINTS, _STATE_MAX_AGE_S)
        self.odom: Latest[None] = self._latest(ODOM, _STATE_MAX_AGE_S)
        self.body = BodyState(wiring.state, self.joints.max_age_s)
        wants = {number.source for number in wiring.state}
        self.named: dict[str, Latest[Any]] = {CAMERA + name: camera for name, camera in self.cameras.items()}
        self.named[SCAN] = self.scan
        self.named |= {name: source for name, source in ((JOINTS, self.joints), (ODOM, self.odom)) if name in wants}
        cameras = [CAMERA + name for name in self.cameras]
        self.needed = frozenset({*cameras, *wants, *((SCAN,) if recipes.lidar is not None else ())})
        order = [name for name in self.named if name in self.needed]
        self.leading: Latest[Any] = self.named[order[0]]
        self._frames = {name: History[Frame](recipe.frames, recipe.every_s) for name, recipe in recipes.cameras.items()}
        state = recipes.state
        self._states: History[NDArray[np.float32]] | None = (
            None if state is None else History(state.frames, state.every_s)
        )

    def _latest(self, name: str, max_age_s: float, frozen_after: int = 0) -> Latest[Any]:
        settings = self._wiring.settings.get(name, Listening())
        age_s = max_age_s if settings.max_age_s is None else min(max_age_s, settings.max_age_s)
        return Latest(age_s, frozen_after, stamps=settings.stamps)

    def shown_singly(self, own: str) -> list[str]:
        """The model's cameras that the robot's camera `own` gives, and that want one frame at a time."""
        listed = self._wiring.cameras.items()
        return [name for name, source in listed if source == own and not self._frames[name].looks_back]

    def remember_frame(self, own: str, frame: Frame, now: float) -> None:
        """Keep a frame for the models' cameras that look back."""
        for name, source in self._wiring.cameras.items():
            if source == own and self._frames[name].looks_back:
                self._frames[name].add(frame, now)

    def remember_state(self, now: float) -> None:
        """Keep the numbers of the body as they are now, once all were heard."""
        row = self.body.row()
        if row is not None and self._states is not None:
            self._states.add(row, now)

    def fault(self, now: float, ros_now_ns: int) -> str | None:
        """The first fault of a source that is needed, such as camera_front_stale."""
        for name, source in self.named.items():
            if name in self.needed and (word := source.fault(now, ros_now_ns)):
                return f"{name}_{word}"
        return None

    def observe(
        self, inference: TimedInference, text: str, ahead: Steps, delay: int, seed: int
    ) -> tuple[Observation, int]:
        """What the next inference sees, and the ROS stamp (ns) of the oldest part of it.

        Every source that is needed has been heard: `fault` said so.
        """
        frames: dict[str, tuple[Frame, ...]] = {}
        tensors: dict[str, Any] = {}
        stamps = []
        for name, own in self._wiring.cameras.items():
            seen = self.cameras[own].get()
            assert seen is not None
            stamps.append(seen.stamp_ns)
            shown = seen.value
            frames[name] = self._frames[name].pick() if self._frames[name].looks_back else (shown.frame,)
            if shown.made_for is inference and name in shown.tensors:
                tensors[name] = shown.tensors[name]
        scan = self.scan.get() if SCAN in self.needed else None
        others = (self.named[name].get() for name in (SCAN, JOINTS, ODOM) if name in self.needed)
        stamps += [each.stamp_ns for each in others if each is not None]
        leading = self.leading.get()
        return Observation(
            frames=frames,
            state=None if self._states is None else np.stack(self._states.pick()),
            scan=None if scan is None else scan.value,
            text=text,
            ahead=ahead,
            delay=delay,
            seed=seed,
            number=0 if leading is None else leading.stamp_ns,
            tensors=tensors,
        ), min(stamps)
