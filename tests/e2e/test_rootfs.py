"""What robots that are containers are made of, before anything of ours is on them: Debian, and wheels from its index.

These tests come before the robots, so that nobody waits for it there.
"""

from __future__ import annotations

import docker
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from images.resolve import SOURCE_ONLY
from tests.testbed import stack_image
from tests.testbed.bench import image
from tests.testbed.bench.wheelhouse import LOCK, locked_for, wheelhouse
from tests.testbed.rootfs import Recipe

pytestmark = pytest.mark.timeout(900)  # a first one fetches everything

RECIPES = {"fleet": image.FLEET, **{suite: image.plain(suite) for suite in image.PYTHONS}}
LOOK = """
. /etc/os-release
echo suite $VERSION_CODENAME
for name in systemctl sshd sudo python3 dockerd docker-registry; do
    command -v $name >/dev/null && echo has $name
done
for path in /etc/ssh/ssh_host_* /var/lib/homeport /etc/homeport /opt/homeport /usr/local/bin/homeport*; do
    [ -e "$path" ] && echo finds "$path"
done
ls /etc/systemd/system/*/homeport* 2>/dev/null
for name in %s; do id -u "$name" >/dev/null && echo knows "$name"; done
"""


def look(client: docker.DockerClient, recipe: Recipe, login: str) -> list[str]:
    """What a container of the recipe's image says of itself."""
    words = ["-c", LOOK % login]
    return stack_image.run(client, recipe.ensure(client, print), words, entrypoint="sh", user="root").splitlines()


@pytest.mark.parametrize("suite", image.PYTHONS)
def test_a_plain_robot_begins_as_debian_with_ssh_and_a_python_and_nothing_of_ours(
    docker_engine: docker.DockerClient, suite: str
) -> None:
    found = look(docker_engine, RECIPES[suite], image.PLAIN_LOGIN)

    programs = ["has systemctl", "has sshd", "has sudo", "has python3"]
    assert found == [f"suite {suite}", *programs, f"knows {image.PLAIN_LOGIN}"]


def test_a_robot_with_an_engine_also_has_docker_and_the_registry_of_the_bench(
    docker_engine: docker.DockerClient,
) -> None:
    found = look(docker_engine, RECIPES["fleet"], "homeport")

    programs = [f"has {name}" for name in ("systemctl", "sshd", "sudo", "python3", "dockerd", "docker-registry")]
    assert found == ["suite bookworm", *programs, "knows homeport"]


@pytest.mark.parametrize("python", image.PYTHONS.values())
def test_a_robot_without_an_index_is_given_every_wheel_that_its_lock_names(python: str) -> None:
    files = wheelhouse(tuple(image.PYTHONS.values())).glob("*.whl")
    there = {parse_wheel_filename(path.name)[:2] for path in files}

    locked = [Requirement(line.partition(" --hash=")[0]) for line in locked_for(LOCK.read_text(), python).splitlines()]
    wanted = {(canonicalize_name(each.name), Version(str(each.specifier).removeprefix("=="))) for each in locked}

    assert len(wanted) > 50
    assert {name for name, version in wanted if (name, version) not in there} == set(SOURCE_ONLY)
