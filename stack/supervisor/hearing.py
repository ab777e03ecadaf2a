"""What arrives on the topics, handed to the supervisor.

Each method takes one message as it was sent, and who sent it.
"""

from __future__ import annotations

import logging

from model_registry.core.cdr import MalformedMessageError
from stack.supervisor.actions import ActionMessage
from stack.supervisor.cdr import (
    parse_battery,
    parse_odometry,
    parse_scan,
    parse_switch,
    parse_text,
    parse_trajectory,
)
from stack.supervisor.inputs import Arrived
from stack.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)


class Hearing:
    """`own` is the GID of this supervisor's publisher of the command."""

    def __init__(self, supervisor: Supervisor, own: bytes) -> None:
        self._supervisor = supervisor
        self._own = own

    def scan(self, came: Arrived) -> None:
        sources = self._supervisor.sources
        try:
            sources.scan(parse_scan(came.data), came.at_s, came.ros_s, came.publisher)
        except MalformedMessageError:
            sources.unreadable("scan", came.at_s, came.publisher)

    def odom(self, came: Arrived) -> None:
        sources = self._supervisor.sources
        try:
            sources.odom(parse_odometry(came.data), came.at_s, came.ros_s, came.publisher)
        except MalformedMessageError:
            sources.unreadable("odom", came.at_s, came.publisher)

    def battery(self, came: Arrived) -> None:
        sources = self._supervisor.sources
        try:
            charge = parse_battery(came.data)
            sources.charge(charge.level, came.at_s, came.publisher + charge.pack)
        except MalformedMessageError:
            sources.unreadable("battery", came.at_s)

    def voice(self, came: Arrived) -> None:
        try:
            self._supervisor.voice.append(parse_text(came.data))
        except MalformedMessageError as error:
            log.warning("voice command: %s", error)

    def estop(self, came: Arrived) -> None:
        """Whatever cannot be read on this topic counts as pressed."""
        try:
            pressed = parse_switch(came.data)
        except MalformedMessageError:
            pressed = True
        self._supervisor.estop(pressed, came.at_s, came.publisher, came.number)

    def command(self, came: Arrived) -> None:
        if came.publisher != self._own:
            self._supervisor.stops.accuse(self._supervisor.robot.topics["cmd_vel"], came.publisher)

    def action(self, slot: str, came: Arrived) -> None:
        try:
            found = parse_trajectory(came.data)
        except MalformedMessageError as error:
            log.warning("slot %s: %s", slot, error)
            self._supervisor.suspect(slot, came.publisher, came.at_s)
            return
        action = ActionMessage(**found._asdict(), arrival_s=came.at_s, ros_s=came.ros_s, publisher=came.publisher)
        self._supervisor.actions.append((slot, action))

    def too_many(self, topic: str) -> None:
        """More came on a topic than can be told apart within a tick: what was lost may have been a stop."""
        self._supervisor.stops.overflow(topic)
