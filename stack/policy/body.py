"""The state that a policy sees: numbers of joints and of odometry, as its plan says where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_registry.core.errors import HomeportError
from model_registry.core.plan import StateNumber
from stack.policy.cdr import JointStates, Speeds

JOINTS, ODOM = "joints", "odom"


@dataclass
class BodyState:
    """Keeps what was heard last of each number, and makes rows of them in the order of the plan.

    Joints may come in several messages, each with some of them: an arm's and a gripper's. None of them may be older
    than `max_age_s`.
    """

    numbers: Sequence[StateNumber]
    max_age_s: float
    _heard: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def hear_joints(self, message: JointStates, now: float) -> bool:
        """Take a message; whether it says anything of the joints that are needed.

        Raises HomeportError when some of them have not been heard lately.
        """
        for kind, values in (
            ("position", message.positions),
            ("velocity", message.velocities),
            ("effort", message.efforts),
        ):
            for name, value in zip(message.names, values, strict=False):
                self._heard[kind, name] = (now, value)
        wanted = [number for number in self.numbers if number.source == JOINTS]
        for number in wanted:
            at, _ = self._heard.get((number.field, number.name), (-np.inf, 0.0))
            if now - at > self.max_age_s:
                raise HomeportError(
                    f"joints: no {number.field} of {number.name} among {', '.join(message.names[:8]) or 'no joints'}; "
                    "let what publishes them name it"
                )
        return any(self._heard[number.field, number.name][0] == now for number in wanted)

    def hear_speeds(self, message: Speeds, now: float) -> None:
        """Take the speeds of a message of odometry."""
        for name, value in message.values.items():
            self._heard["base_velocity", name] = (now, value)

    def row(self) -> NDArray[np.float32] | None:
        """float32 [numbers] in the units of the contract; None before all were heard."""
        heard = [self._heard.get((number.field, number.name)) for number in self.numbers]
        if any(each is None for each in heard):
            return None
        pairs = zip(self.numbers, heard, strict=True)
        return np.array([number.factor * value[1] + number.offset for number, value in pairs if value], np.float32)
