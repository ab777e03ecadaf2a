"""Whether a release may run on this robot at all.

It must be signed by a key that the robot trusts, made for it, complete, and able to drive it.
"""

from __future__ import annotations

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, NotFoundError, RefusedError
from model_registry.core.plan import Plan
from model_registry.core.release import Release, version_key
from model_registry.core.robot import l4t_of
from model_registry.core.version import version
from stack.agent.disk.revocations import Revocations
from stack.agent.disk.store import verify_staged
from stack.agent.host import Host


def check_here(host: Host, release: Release) -> None:
    """Raises IncompatibleError or RefusedError when a verified release does not fit robot, supervisor or runtime."""
    robot = host.robot()
    view = host.supervisor.try_view()
    fit = release.compatibility
    name = f"release {release.name} {release.version}"
    if robot.row not in fit.rows or robot.row_arch not in release.images:
        raise IncompatibleError(f"{name}: made for {', '.join(fit.rows)}, and {robot.name} is {robot.row_arch}")
    if (here := l4t_of(host.layout.tegra_release)) not in (None, robot.l4t):
        raise IncompatibleError(
            f"{robot.name}: robot.toml says L4T {robot.l4t or 'none'}, and here is {here}; set homeport_l4t and apply "
            "the role `device`"
        )
    if robot.l4t is not None and robot.l4t not in fit.l4t:
        raise IncompatibleError(
            f"{name}: made for L4T {', '.join(fit.l4t) or 'none'}, and {robot.name} has {robot.l4t}; create one for it"
        )
    if fit.embodiment != robot.embodiment:
        raise IncompatibleError(
            f"{name}: made for {fit.embodiment}, and {robot.name} is a {robot.embodiment}; deploy it to robots it fits"
        )
    if view is not None and fit.supervisor_protocol != view.protocol:
        raise IncompatibleError(
            f"{name}: speaks supervisor protocol {fit.supervisor_protocol}, here is {view.protocol}; apply the role "
            "`device`"
        )
    if version_key(version()) < version_key(fit.minimum_agent):
        raise IncompatibleError(
            f"{name}: needs agent {fit.minimum_agent}, here is {version()}; apply the role `device`"
        )
    if release.counter < (least := host.store.floor().minimum_counter):
        raise RefusedError(
            f"{name}: its counter {release.counter} is below this robot's floor of {least}; create a newer release"
        )
    if release.state.schema < (least := host.store.floor().minimum_state):
        raise RefusedError(
            f"{name}: reads state of schema {release.state.schema} at most, and what is on this robot can be read "
            f"from schema {least} on; take a newer release"
        )
    host.runtime.check(release)


def check_way_back(host: Host, release: Release) -> None:
    """Whether what drives now could read the state that this release leaves. Raises RefusedError."""
    current = host.store.find(host.store.current())
    if current is not None and current.state.schema < (least := release.state.readable_from):
        raise RefusedError(
            f"{release.name} {release.version}: its state can be read from schema {least} on, and {current.version} "
            f"reads {current.state.schema} at most, so there were no way back; deploy a release between the two first"
        )


def check_complete(host: Host, digest: Digest) -> None:
    """Whether nothing of a release is missing on this robot. Raises RefusedError.

    While its engine hangs nobody knows whether an image is here: then that is the error, and not an image to fetch.
    """
    missing = host.store.missing(digest)
    if missing == ["image"] and (trouble := host.runtime.trouble()) is not None:
        raise RefusedError(f"{digest}: whether its image is here is not known: {trouble}")
    if missing:
        raise RefusedError(f"{digest}: not complete on this robot ({', '.join(missing)} missing); stage it again")


def switchable(host: Host, digest: Digest) -> Release:
    """A staged release that may drive this robot. Raises NotFoundError or RefusedError."""
    Revocations.load(host.layout).check(host.layout, digest)
    if not host.layout.release(digest).document.exists():
        raise NotFoundError(f"{digest}: not on this robot; run `homeport-agent stage {digest}` first")
    check_complete(host, digest)
    host.store.check_not_quarantined(digest, "stage it with --retry to try it again")
    release = verify_staged(host.layout, digest)
    check_here(host, release)
    check_way_back(host, release)
    contract = Contract.load(host.layout.release(digest).model)
    robot = host.robot()
    Plan.of(contract, robot).check(contract, robot)
    return release
