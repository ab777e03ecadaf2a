"""What arrives on the topics, handed to the supervisor: each method takes a message, or its bytes, and when the middleware had it."""

from __future__ import annotations

import logging
from typing import Protocol

from model_registry.core.cdr import MalformedMessageError
from stack.supervisor.actions import ActionMessage
from stack.supervisor.cdr import parse_odometry, parse_scan, parse_speed, parse_trajectory
from stack.supervisor.state import Reason
from stack.supervisor.supervisor import Supervisor
from stack.supervisor.writers import Writers

log = logging.getLogger(__name__)


class Charge(Protocol):
    """sensor_msgs/BatteryState."""

    percentage: float


class Text(Protocol):
    """std_msgs/String."""

    data: str


class Switch(Protocol):
    """std_msgs/Bool."""

    data: bool


class Hearing:
    """`at_s` is monotonic, `ros_s` the same moment in ROS time; `number` counts the messages of one writer."""

    def __init__(self, supervisor: Supervisor, writers: Writers) -> None:
        self._supervisor, self._writers = supervisor, writers

    def scan(self, data: bytes, at_s: float, ros_s: float, _: int | None) -> None:
        sources = self._supervisor.sources
        try:
            sources.scan(parse_scan(data), at_s, ros_s)
        except MalformedMessageError:
            sources.unreadable("scan", at_s)

    def odom(self, data: bytes, at_s: float, ros_s: float, _: int | None) -> None:
        sources = self._supervisor.sources
        try:
            sources.odom(parse_odometry(data), at_s, ros_s)
        except MalformedMessageError:
            sources.unreadable("odom", at_s)

    def battery(self, message: Charge, at_s: float, *_: object) -> None:
        self._supervisor.sources.charge(float(message.percentage), at_s)

    def voice(self, message: Text, *_: object) -> None:
        self._supervisor.voice.append(message.data)

    def estop(self, message: Switch, at_s: float, *_: object) -> None:
        self._supervisor.estop(message.data, at_s)

    def command(self, data: bytes, at_s: float, ros_s: float, number: int | None) -> None:
        try:
            foreign = self._writers.foreign(number, parse_speed(data))
        except MalformedMessageError:
            foreign = True
        if foreign:
            self._supervisor.trips.append(Reason.SECOND_WRITER)

    def action(self, slot: str, data: bytes, at_s: float, ros_s: float, _: int | None) -> None:
        try:
            found = parse_trajectory(data)
        except MalformedMessageError as error:
            log.warning("slot %s: %s", slot, error)
            return
        action = ActionMessage(**found._asdict(), arrival_s=at_s, ros_s=ros_s)
        self._supervisor.actions.append((slot, action))
