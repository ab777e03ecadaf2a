"""Whether a release may run on this robot at all: pure rules, each with its own sentence."""

from __future__ import annotations

from model_registry.core.errors import IncompatibleError, RefusedError
from model_registry.core.release import Release, version_key
from model_registry.core.robot import Robot
from stack.agent.store import Floor


def check_fits(release: Release, robot: Robot, floor: Floor, agent_version: str, protocol: int | None) -> None:
    """Raises IncompatibleError or RefusedError. `protocol` is the running supervisor's, None when it does not answer."""
    fit, name = release.compatibility, f"release {release.name} {release.version}"
    if robot.row not in fit.rows or robot.row_arch not in release.images:
        raise IncompatibleError(f"{name}: made for {', '.join(fit.rows)}, and {robot.name} is {robot.row_arch}")
    if robot.l4t is not None and robot.l4t not in fit.l4t:
        raise IncompatibleError(
            f"{name}: made for L4T {', '.join(fit.l4t) or 'none'}, and {robot.name} has {robot.l4t}; create one for it"
        )
    if fit.embodiment != robot.embodiment:
        raise IncompatibleError(
            f"{name}: made for {fit.embodiment}, and {robot.name} is a {robot.embodiment}; deploy it to robots it fits"
        )
    if protocol is not None and fit.supervisor_protocol != protocol:
        raise IncompatibleError(
            f"{name}: speaks supervisor protocol {fit.supervisor_protocol}, here is {protocol}; apply the role `device`"
        )
    if version_key(agent_version) < version_key(fit.minimum_agent):
        raise IncompatibleError(
            f"{name}: needs agent {fit.minimum_agent}, here is {agent_version}; apply the role `device`"
        )
    if release.counter < floor.minimum_counter:
        raise RefusedError(
            f"{name}: its counter {release.counter} is below this robot's floor of {floor.minimum_counter}; create a newer release"
        )
