"""What is done to a played robot, as words that cases are written in."""

from __future__ import annotations

from std_msgs.msg import String

from tests.testbed.injection import Deed


def body(**fields: object) -> Deed:
    """Bend the played body."""
    return lambda robot: vars(robot.body).update(fields)


def slot(name: str = "a", **fields: object) -> Deed:
    """Bend a played slot."""
    return lambda robot: vars(robot.slots[name]).update(fields)


def silent(name: str = "a") -> Deed:
    return lambda robot: robot.slots[name].stop()


def say(text: str) -> Deed:
    return lambda robot: robot.voice.publish(String(data=text))
