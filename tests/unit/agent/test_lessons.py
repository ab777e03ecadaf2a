"""What bit others, as far as it is the agent's matter and no other file has it; docs/lessons.md has the whole list."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tests.fakes.rig import TOP, Rig


def test_what_failed_on_the_way_is_not_taken_for_done_by_the_next_try(rig: Rig) -> None:
    """A slot that had failed was stored with a valid checksum, and the retry skipped it: rauc/rauc#1554."""
    one, unproved = rig.publish("1.0.0"), rig.publish("1.1.0", {"parity": 0.5})
    wheel = rig.source / "releases" / one[7:] / "image.whl"
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1])
    for _ in range(2):
        assert rig.run("stage", one).code == 5
    wheel.write_bytes(whole)
    mended = rig.run("stage", one)
    assert mended.code == 0 and mended.result["changed"] and mended.result["bytes_fetched"] > 0
    for options in ((), ("--retry",), ("--retry",)):
        failure = rig.run("stage", unproved, *options).result["failure"]
        assert (failure["stage"], failure["metric"]) == ("PROVE", "parity")
    assert rig.status()["staged"] == [one]


def test_a_release_that_ends_again_and_again_can_be_replaced(rig: Rig, tmp_path: Path) -> None:
    """A crash-looping container could not be updated: balena-os/balena-supervisor#1632."""
    broken = tmp_path / "another-camera-driver"
    one, two = rig.publish("1.0.0", {"dies_beside": str(broken)}), rig.publish("1.1.0")
    rig.deploy(one)
    broken.touch()
    pid = rig.processes()["a"]
    assert pid is not None
    os.kill(pid, 9)
    rig.until(lambda: any("next start in" in each for each in rig.status()["problems"]), "the slot to end again")
    answer = rig.deploy(two)
    assert answer.code == 0, answer.document
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == two


def test_a_robot_whose_first_release_failed_takes_the_next_one(rig: Rig) -> None:
    """The first deployment that failed removed the loader: aws-greengrass-nucleus#1635."""
    bad, good = rig.publish("1.0.0", {"die_after_s": 0.3}), rig.publish("1.1.0")
    assert rig.deploy(bad).code == 1
    status = rig.status()
    assert (status["current"], status["running"], status["quarantined"]) == (None, None, [bad])
    assert not status["healthy"] and rig.processes() == {"a": None, "b": None}
    answer = rig.deploy(good)
    assert answer.code == 0, answer.document
    status = rig.status()
    assert status["healthy"] and status["fallback"]["digest"] == good and status["previous"] is None


def test_an_agent_whose_folder_was_deleted_is_not_healthy_and_takes_a_release_again(rig: Rig) -> None:
    """State directory deleted at runtime: the agent stayed online and never updated again: flightctl/flightctl#2543."""
    one = rig.publish("1.0.0")
    rig.deploy(one)
    for path in rig.root.iterdir():
        if path.name not in ("etc", "envs", "agent.log"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    rig.until(lambda: rig.run("status").code == 3, "the status is not healthy")
    status = rig.status()
    assert status["running"] is None and "no release was committed yet" in status["problems"]
    answer = rig.deploy(one)
    assert answer.code == 0, answer.document
    assert rig.run("status").code == 0 and rig.status()["running"]["digest"] == one


def test_nothing_but_windows_and_an_expiry_that_the_site_refuses_decides_by_the_time_of_day() -> None:
    """Certificates that were not yet valid, or had expired: rauc/rauc#353, #781; Azure/iotedge#4062."""
    asks = re.compile(r"\btime\.(time|time_ns|localtime)\b|\b(datetime|date)\.(now|utcnow|today)\(|-checkend|-attime")
    sources = [*(TOP / "stack/agent").rglob("*"), *(TOP / "model_registry/core").rglob("*")]
    found = {path.name for path in sources if path.suffix in (".py", ".sh") and asks.search(path.read_text())}
    assert found == {"clock.py", "journal.py"}
    journal = (TOP / "stack/agent/disk/journal.py").read_text()
    assert len(asks.findall(journal)) == 1 and "def utc_now() -> str:" in journal, "words for people"
    users = {path.name for path in sources if path.suffix == ".py" and "import Clock" in path.read_text()}
    told = {"condition.py", "examine.py", "pull_image.py"}
    assert users == {"windows.py", "channels.py", *told}, "the others only tell a person what the clock says"
