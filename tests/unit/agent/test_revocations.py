"""What a channel record has revoked: kept for good, refused before anything stops, and no reason to leave a robot
without a release.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry.core import dsse
from model_registry.core.channel import PAYLOAD_TYPE
from model_registry.core.documents import dump
from model_registry.core.layout import Layout
from stack.agent.doctor.checks import CHECKS
from stack.agent.doctor.examine import DoctorLine, Patient, examine
from tests.fakes.rig import Answer, Rig
from tests.fakes.schemas import check
from tests.fakes.stand_in import StandIn, commit_third

OTHER = f"sha256:{'5' * 64}"


def signed(
    rig: Rig, seq: int, *revoked: str, channel: str = "stable", key: ec.EllipticCurvePrivateKey | None = None
) -> str:
    """A channel record as it is given to robots."""
    fields = {"schema": 1, "name": "pilot", "channel": channel, "seq": seq, "digest": f"sha256:{'6' * 64}"}
    fields |= {"expires": "2020-01-01", "min_version": "0.0.0", "revoked": list(revoked)}
    check(fields, "channel")
    payload = dump(fields)
    signature = (key or rig.key).sign(dsse.pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
    return dsse.envelope(PAYLOAD_TYPE, payload, [(rig.key_id, signature)]).decode()


def tell(rig: Rig, release: str, record: str, *options: str) -> Answer:
    path = rig.root / "record.json"
    path.write_text(record)
    return rig.run("stage", release, "--channel-record", str(path), *options)


def kept(layout: Layout) -> dict[str, object]:
    document: dict[str, object] = json.loads(layout.revoked.read_bytes())
    return document


def line(rig: Rig, name: str = "revoked") -> DoctorLine:
    [finding] = examine(Patient(rig.layout), {name: CHECKS[name]})
    return finding


def test_what_is_revoked_is_refused_everywhere_before_anything_stops(rig: Rig) -> None:
    one, two, three = (rig.publish(version) for version in ("1.0.0", "1.1.0", "1.2.0"))
    for release in (one, two):
        assert rig.deploy(release).code == 0
    assert rig.run("stage", three).code == 0
    assert line(rig).verdict == "ok"
    pids = rig.processes()

    assert tell(rig, two, signed(rig, 7, one, three)).code == 0

    why = "is revoked (channel record pilot:stable 7); deploy another release"
    calls = (
        ("stage", three),
        ("stage", three, "--retry"),
        ("stage", one, "--dry-run"),
        ("switch", three),
        ("pin", one),
    )
    for words in (*calls, ("rollback",), ("rollback", "--to", "fallback"), ("rollback", "--to", one)):
        answer = rig.run(*words)
        assert answer.code == 5 and answer.message.endswith(why), answer.document
    assert rig.processes() == pids and rig.status()["healthy"]
    assert line(rig).verdict == "warn" and f"previous {one[7:19]}, fallback {one[7:19]}" in line(rig).text


def test_the_refusal_names_the_way_that_is_left(rig: Rig) -> None:
    one, two, three = (rig.publish(version) for version in ("1.0.0", "1.1.0", "1.2.0"))
    for release in (one, two, three):
        assert rig.deploy(release).code == 0
    assert tell(rig, three, signed(rig, 1, two)).code == 0

    refused, back = rig.run("rollback"), rig.run("rollback", "--to", "fallback")

    assert refused.code == 5 and refused.message.endswith("deploy another release, or go back with --to fallback")
    assert back.code == 0 and rig.status()["running"]["digest"] == one


def test_a_robot_never_forgets_and_an_older_record_is_refused(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    assert tell(rig, one, signed(rig, 5, OTHER)).code == 0
    before = rig.layout.revoked.read_bytes()

    older = tell(rig, one, signed(rig, 4))
    assert older.code == 5 and "this robot has seen 5 already; give it the newest one" in older.message
    assert rig.layout.revoked.read_bytes() == before
    assert tell(rig, one, signed(rig, 6)).code == 0
    assert tell(rig, one, signed(rig, 1, channel="canary")).code == 0
    known = kept(rig.layout)
    seen: Any = known["seen"]
    assert {title: record["seq"] for title, record in seen.items()} == {"pilot:stable": 6, "pilot:canary": 1}
    assert known["releases"] == {OTHER: "channel record pilot:stable 5"}


def test_a_record_is_kept_although_its_release_is_refused_and_not_kept_by_a_plan(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    planned = tell(rig, one, signed(rig, 2, one), "--dry-run")
    assert planned.code == 5 and not rig.layout.revoked.exists()
    assert tell(rig, one, signed(rig, 2, one)).code == 5
    assert kept(rig.layout)["releases"] == {one: "channel record pilot:stable 2"}
    assert not rig.layout.journal.exists(), "nothing was begun"


@pytest.mark.parametrize("fault", ["foreign", "garbage", "binary", "gone"])
def test_a_record_that_nobody_signed_changes_nothing(rig: Rig, fault: str) -> None:
    one, path = rig.publish("1.0.0"), rig.root / "record.json"
    foreign = signed(rig, 1, one, key=ec.generate_private_key(ec.SECP256R1()))
    path.write_bytes({"foreign": foreign.encode(), "garbage": b"{}", "binary": b"\xff\x00"}.get(fault, b""))
    if fault == "gone":
        path.unlink()

    answer = rig.run("stage", one, "--channel-record", str(path))

    wanted = {"foreign": (5, "no valid signature"), "gone": (1, "No such file")}.get(fault, (2, "channel record"))
    assert answer.code == wanted[0] and wanted[1] in answer.message
    assert not rig.layout.revoked.exists() and not rig.layout.journal.exists()


def test_a_robot_that_drives_what_is_revoked_goes_on_and_says_so(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    assert rig.deploy(one).code == 0
    assert tell(rig, one, signed(rig, 1, one)).code == 5
    rig.stop_agent(kill=True)
    rig.start_agent()

    status = rig.status()

    assert status["running"]["digest"] == one and not status["healthy"]
    assert status["problems"] == [
        f"current {one[7:19]} is revoked (channel record pilot:stable 1); deploy another release"
    ]
    assert line(rig).verdict == "warn" and "current" in line(rig).text
    two = rig.publish("1.1.0")
    assert rig.deploy(two).code == 0 and rig.status()["healthy"]


def test_what_was_known_and_cannot_be_read_refuses_changes_and_stops_nothing(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    rig.layout.revoked.write_text("{")

    answer = rig.run("rollback")

    assert answer.code == 1 and "remove it, then stage with the newest --channel-record" in answer.message
    status = rig.status()
    assert status["running"]["digest"] == two and any("revoked.json" in each for each in status["problems"])
    assert line(rig).verdict == "fail" and line(rig).fix
    rig.layout.revoked.unlink()
    assert rig.run("rollback").code == 0


def test_what_was_told_is_on_disk_before_the_robot_answers(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    agent.disk.recording = True
    fields = {"source": None, "repository": "releases/pilot", "dry_run": False, "retry": False}
    answer = agent.ask("stage", release=robot.new, channel_record=signed(robot, 1, robot.new), **fields)
    assert answer.error is not None and "is revoked" in answer.error
    during = [image for images in agent.disk.states.values() for image in images.values()]
    after = list(agent.disk.cut())
    agent.kill()
    found = {image["revoked.json"][1] if "revoked.json" in image else None for image in during}
    assert len(found) == 2 and None in found, "the old state or the new one, and nothing between"
    assert all(robot.new in str(image["revoked.json"][1]) for image in after)


@pytest.mark.parametrize("also_fallback", [False, True])
def test_a_boot_prefers_what_is_not_revoked_and_takes_it_where_nothing_else_is_left(
    robot: StandIn, also_fallback: bool
) -> None:
    robot.reset("new")
    commit_third(robot)
    told = {robot.new: "channel record pilot:stable 1", **({robot.old: "the same"} if also_fallback else {})}
    robot.layout.revoked.write_text(json.dumps({"schema": 1, "seen": {"pilot:stable": 1}, "releases": told}))
    envelope = robot.layout.current / "release.dsse.json"
    envelope.write_bytes(envelope.read_bytes().replace(b"sig", b"gis"))

    agent = robot.boot()
    status = agent.keep_until_well("something drives")
    agent.kill()

    assert status["running"]["digest"] == (robot.new if also_fallback else robot.old)
    revoked = [each for each in status["problems"] if "is revoked" in each]
    assert len(revoked) == int(also_fallback)


def test_stdin_can_be_the_record(rig: Rig, tmp_path: Path) -> None:
    import subprocess
    import sys

    one = rig.publish("1.0.0")
    argv = [
        sys.executable,
        "-m",
        "stack.agent",
        "--root",
        str(rig.root),
        "--json",
        "stage",
        one,
        "--channel-record",
        "-",
    ]
    done = subprocess.run(argv, input=signed(rig, 1, one), capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "is revoked" in done.stderr


def test_an_expired_record_is_said_and_refused_where_the_settings_say_so_and_what_it_revokes_is_kept(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    said = tell(rig, one, signed(rig, 3, OTHER))
    assert said.code == 0 and "channel record pilot:stable 3: expired on 2020-01-01, and today is" in said.stderr

    rig.stop_agent()
    with rig.layout.agent_toml.open("a") as settings:
        settings.write('[channel]\noutdated = "refuse"\n')
    rig.start_agent()
    two = rig.publish("1.1.0")
    refused = tell(rig, two, signed(rig, 4, one))

    assert refused.code == 5 and "expired on 2020-01-01" in refused.message
    assert kept(rig.layout)["releases"] == {
        OTHER: "channel record pilot:stable 3",
        one: "channel record pilot:stable 4",
    }
