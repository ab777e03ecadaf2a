"""From a digest to READY: what is refused, with which exit code, and that nothing changes then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.rig import LOCK, Answer, Rig


def test_staging_again_changes_nothing(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    first = rig.run("stage", one)
    assert first.code == 0 and first.result["bytes_fetched"] > 0 and first.result["engines_built"] == 1
    again = rig.run("stage", one)
    assert again.code == 0 and not again.result["changed"]
    assert (again.result["bytes_fetched"], again.result["engines_built"]) == (0, 0)
    assert rig.status()["staged"] == [one]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    plan = rig.run("stage", one, "--dry-run").result["plan"]
    assert plan["engine_build"] and "FETCH" in plan["steps"]
    assert not list((rig.root / "releases").iterdir()) and not rig.layout.journal.exists()
    rig.run("stage", one)
    assert rig.run("stage", one, "--dry-run").result["plan"] == {
        **{"bytes": 0, "engine_build": False, "steps": []},
        "window": None,
    }


def test_a_tag_is_a_usage_error(rig: Rig) -> None:
    answer = rig.run("stage", "pilot:1.0.0")
    assert answer.code == 2 and "digest, not a tag" in answer.message


def test_an_unknown_release_fails_with_the_message_of_the_registry(rig: Rig) -> None:
    answer = rig.run("stage", f"sha256:{'0' * 64}")
    assert answer.code == 1 and "was it pushed?" in answer.message
    assert "error: " in answer.stderr and answer.result["failure"]["stage"] == "FETCH"
    assert not list((rig.root / "releases").iterdir()) and not list(rig.layout.ingest.iterdir())


def _other_embodiment(fields: dict[str, Any]) -> None:
    fields["compatibility"]["embodiment"] = "arm"


def _other_protocol(fields: dict[str, Any]) -> None:
    fields["compatibility"]["supervisor_protocol"] = 9


def _newer_agent(fields: dict[str, Any]) -> None:
    fields["compatibility"]["minimum_agent"] = "99.0.0"


def _other_row(fields: dict[str, Any]) -> None:
    fields["compatibility"]["rows"] = ["jp6"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_embodiment, "made for arm"),
        (_other_protocol, "supervisor protocol 9"),
        (_newer_agent, "needs agent 99.0.0"),
        (_other_row, "made for jp6"),
    ],
)
def test_a_release_that_does_not_fit_is_refused(rig: Rig, change: Callable[[dict[str, Any]], None], words: str) -> None:
    answer = rig.run("stage", rig.publish("1.0.0", change=change))
    assert answer.code == 5 and words in answer.message
    assert not list((rig.root / "releases").iterdir()) and rig.status()["quarantined"] == []


def test_a_jetson_that_was_updated_takes_nothing_until_its_robot_toml_says_so(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    rig.layout.tegra_release.resolve().write_text("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n")

    answer = rig.run("stage", one)

    assert answer.code == 5 and "L4T none, and here is 36.4.3" in answer.message


def test_a_release_signed_by_a_stranger_is_refused(rig: Rig) -> None:
    answer = rig.run("stage", rig.publish("1.0.0", key=ec.generate_private_key(ec.SECP256R1())))
    assert answer.code == 5 and "no valid signature" in answer.message
    assert answer.result["failure"]["stage"] == "VERIFY"


def test_a_flipped_byte_in_the_code_is_refused(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    path = rig.source / "releases" / one[7:] / "image.whl"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    answer = rig.run("stage", one)
    assert answer.code == 5 and "image.whl" in answer.message
    assert not list((rig.root / "releases").iterdir())


def test_a_missing_environment_names_the_role_that_installs_it(rig: Rig) -> None:
    (rig.layout.environment(LOCK) / "bin" / "python").unlink()
    answer = rig.run("stage", rig.publish("1.0.0"))
    assert answer.code == 5 and "role `device`" in answer.message


def test_an_engine_that_does_not_prove_itself_is_quarantined(rig: Rig) -> None:
    bad = rig.publish("1.2.0", {"parity": 0.5})
    answer = rig.run("stage", bad)
    failure = answer.result["failure"]
    assert answer.code == 1 and (failure["stage"], failure["metric"], failure["value"]) == ("PROVE", "parity", 0.5)
    assert answer.result["gates"][0]["verdict"] == "unhealthy"
    assert rig.status()["quarantined"] == [bad] and rig.status()["staged"] == []
    assert rig.run("stage", bad).code == 5


def test_a_build_that_fails_says_why(rig: Rig) -> None:
    answer = rig.run("stage", rig.publish("1.2.0", {"build_error": "no backend here"}))
    assert answer.code == 1 and "no backend here" in answer.message
    assert answer.result["failure"]["stage"] == "BUILD"


def test_a_full_disk_is_not_the_release_s_fault(rig: Rig) -> None:
    answer = rig.run("stage", rig.publish("1.2.0", {"build_error": "[Errno 28] No space left on device: '/x'"}))
    assert answer.code == 1 and answer.result["failure"]["stage"] == "BUILD"
    assert rig.status()["quarantined"] == []


def test_engines_that_somebody_else_builds_are_not_the_release_s_fault(rig: Rig) -> None:
    busy = {"build_error": "/var/lib/homeport/engines: another build is running", "build_code": 6}
    answer = rig.run("stage", rig.publish("1.2.0", busy))
    assert answer.code == 6 and "another build is running" in answer.message
    assert rig.status()["quarantined"] == []


def test_a_second_change_is_locked_out_and_told_by_whom(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    (rig.source / "slow").touch()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(_stage_apart(rig, one)))
    thread.start()
    rig.until((rig.source / "slow.seen").exists, "the first stage fetches")
    locked = rig.run("stage", one)
    assert rig.status()["stage"] == "FETCH"
    (rig.source / "go").touch()
    thread.join(30)
    assert locked.code == 6 and "stage by uid" in locked.message and "since" in locked.message
    assert answers[0].code == 0


def _stage_apart(rig: Rig, release: str) -> Answer:
    """Stage over the socket, because capturing stdout belongs to the main thread."""
    from model_registry.core import lines

    line = lines.request("stage", release=release, source=None, repository="releases/pilot", dry_run=False, retry=False)
    result = lines.call(rig.layout.agent_socket, line, 60.0)
    return Answer(0, {"result": result}, "")
