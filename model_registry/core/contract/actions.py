"""What a model gives: actions with names, units and ranges, and how they follow each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_registry.core.contract.observation import NORMALISATIONS, StateRecipe
from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError

BASE_VELOCITY = "base_velocity"
JOINT_POSITION = "joint_position"
SPACES = (BASE_VELOCITY, JOINT_POSITION, "joint_velocity")
RELATIVES = ("no", "to_state", "to_previous")
UNITS = ("rad", "deg", "m", "mm", "percent", "rad/s", "deg/s", "m/s", "Nm", "N", "none")
BASE_DIMENSIONS = {"linear_x": "m/s", "linear_y": "m/s", "angular_z": "rad/s"}
"""What a base can be told, and in which units."""


@dataclass(frozen=True)
class Dimension:
    """One action dimension with its unit and largest range."""

    name: str
    unit: str
    min: float
    max: float

    @classmethod
    def read(cls, reader: Reader) -> Dimension:
        made = cls(reader.text("name"), reader.text("unit", UNITS), reader.number("min"), reader.number("max"))
        if not made.min < made.max:
            raise UsageError(f"{reader.path}: {made.name} goes from {made.min} to {made.max}; min must be below max")
        return made


@dataclass(frozen=True)
class Actions:
    """`relative` actions are differences: to the state that was seen, or each to the one before.

    `normalise` says how the network's numbers become units. `horizon` and `execute_steps` count actions, `control_hz`
    how many are carried out in a second.
    """

    space: str
    dims: tuple[Dimension, ...]
    horizon: int
    execute_steps: int
    control_hz: float
    relative: str = "no"
    normalise: str = "none"

    @classmethod
    def read(cls, reader: Reader) -> Actions:
        made = cls(
            space=reader.text("space", SPACES),
            dims=reader.objects("dims", Dimension.read),
            horizon=reader.integer("horizon", 1),
            execute_steps=reader.integer("execute_steps", 1),
            control_hz=reader.number("control_hz", 0.1, 1000.0),
            relative=reader.text_or("relative", "no", RELATIVES),
            normalise=reader.text_or("normalise", "none", NORMALISATIONS),
        )
        made._check(reader.path)
        return made

    def _check(self, path: str) -> None:
        if not self.dims or len(set(self.names)) != len(self.names):
            raise UsageError(f"{path}.dims: name each dimension once, and at least one")
        if self.execute_steps > self.horizon:
            raise UsageError(
                f"{path}.execute_steps: {self.execute_steps} is more than the horizon of {self.horizon}; execute at "
                "most what is given"
            )
        if self.relative != "no" and self.space != JOINT_POSITION:
            raise UsageError(f"{path}.relative: only a {JOINT_POSITION} is added to a state; leave it away")
        if self.space != BASE_VELOCITY:
            return
        for dim in self.dims:
            unit = BASE_DIMENSIONS.get(dim.name)
            if unit is None:
                raise UsageError(
                    f"{path}.dims: a base has no dimension {dim.name!r}; there are {', '.join(BASE_DIMENSIONS)}"
                )
            if dim.unit != unit:
                raise UsageError(f"{path}.dims: {dim.name} of a base is in {unit}, and not in {dim.unit}")

    def check_relative(self, path: str, state: StateRecipe | None) -> None:
        """Raises UsageError where actions are relative to a state that does not hold their dimensions."""
        if self.relative == "no":
            return
        units = {} if state is None else state.units
        for dim in self.dims:
            unit = units.get(f"joint_position.{dim.name}")
            if unit is None:
                raise UsageError(
                    f"{path}.relative: actions are added to the state that was seen, and observation.state has no "
                    f"joint_position of {dim.name}; add it there"
                )
            if unit != dim.unit:
                raise UsageError(
                    f"{path}.relative: {dim.name} is in {dim.unit}, and the state that it is added to is in {unit}; "
                    "give both in one unit"
                )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dim.name for dim in self.dims)

    def usable_steps(self, oldest_s: float) -> int:
        """How many actions of a chunk are carried out where an observation may be `oldest_s` seconds old at most."""
        return max(1, min(self.execute_steps, math.floor(oldest_s * self.control_hz + 1e-6)))

    def longest_inference_s(self, oldest_s: float) -> float:
        """The longest inference that still leaves no hole between chunks: the usable actions less one period.

        Of a single action half of its period: the next one has to be there when it ends.
        """
        return max(self.usable_steps(oldest_s) - 1.0, 0.5) / self.control_hz

    @property
    def chunk_s(self) -> float:
        """How long the actions of one chunk last, in seconds: none of them is carried out later."""
        return self.execute_steps / self.control_hz
