"""The commented examples in docs/examples are what the programs read: every key is known, and none is left out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from model_registry.core.robot import SOURCES, TOPICS, Robot
from stack.agent.settings.config import Config, GateSettings

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_robot_example_names_every_key_with_its_default() -> None:
    robot = Robot.load(EXAMPLES / "robot.toml")

    assert robot.topics == TOPICS
    assert set(robot.sources) == set(SOURCES)
    assert robot.l4t == "36.4.3"


def test_the_agent_example_names_every_key_with_its_default() -> None:
    config = Config.load(EXAMPLES / "agent.toml")

    docker = Config.load(EXAMPLES / "agent-docker.toml")
    text = (EXAMPLES / "agent.toml").read_text() + (EXAMPLES / "agent-docker.toml").read_text()

    assert config.gate == docker.gate == GateSettings()
    assert (config.runtime, docker.runtime) == ("process", "docker")
    assert {field.name for field in fields(Config)} <= set(
        word.strip("[]") for line in text.splitlines() for word in line.split()[:1]
    )


def test_the_release_example_is_what_release_create_reads() -> None:
    from model_registry.releasing import Draft

    draft = Draft.load(EXAMPLES / "release.toml")

    assert (draft.name, draft.version) == ("pilot", "1.0.0")
