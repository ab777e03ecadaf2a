"""The decisions of a rollout, as tables."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
NEW, OLD = f"sha256:{'2' * 64}", f"sha256:{'1' * 64}"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


waves = load("ansible/plugins/filter/waves.py")
PROVED = {"verified": True}
FAILED = {"verified": False, "msg": "too slow", "failure": {"stage": "PROBATION", "metric": "p99", "value": 80.0}}
START = {"halted": False, "failed": {}, "passed": []}


def fleet(**kinds: tuple[str, str, str]) -> dict[str, dict[str, str]]:
    return {host: dict(zip(waves.KEY, kind, strict=True)) for host, kind in kinds.items()}


ONE = ("process", "lab", "base")


@pytest.mark.parametrize(
    ("hostvars", "percentages", "expected"),
    [
        ({"a": ONE}, [100], [["a"]]),
        ({"a": ONE, "b": ONE, "c": ONE}, [100], [["a"], ["b", "c"]]),
        ({"a": ONE, "b": ONE, "c": ONE, "d": ONE, "e": ONE}, [50, 100], [["a"], ["b", "c"], ["d", "e"]]),
        ({"a": ONE, "b": ("jp6", "lab", "base"), "c": ONE}, [100], [["a", "b"], ["c"]]),
        ({"a": ONE, "b": ("process", "hall", "base")}, [100], [["a", "b"]]),
        ({"a": ONE, "b": ("process", "lab", "arm")}, [100], [["a", "b"]]),
        ({"a": ONE, "b": ONE}, [1, 2, 3, 100], [["a"], ["b"]]),
    ],
    ids=["one robot", "canary and rest", "percentages", "row", "site", "body", "no empty wave"],
)
def test_a_wave_of_canaries_holds_one_of_every_kind(hostvars, percentages, expected) -> None:
    plan = waves.plan(reversed(list(hostvars)), fleet(**hostvars), percentages)

    assert plan["waves"] == expected
    assert plan["sizes"] == [len(wave) for wave in expected]
    assert plan["order"] == [host for wave in expected for host in wave]


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.tuples(*[st.sampled_from("xy")] * 3), min_size=1),
    st.lists(st.integers(1, 99), unique=True).map(lambda steps: [*sorted(steps), 100]),
)
def test_every_robot_is_in_exactly_one_wave_and_no_wave_is_empty(kinds, percentages) -> None:
    plan = waves.plan(kinds, fleet(**kinds), percentages)

    assert sorted(plan["order"]) == sorted(kinds)
    assert all(plan["sizes"])
    assert {kinds[host] for host in plan["waves"][0]} == set(kinds.values())


def test_a_host_without_variables_is_a_kind_of_its_own() -> None:
    assert waves.plan(["a", "b"], {"a": {}, "b": fleet(b=ONE)["b"]})["waves"] == [["a", "b"]]


@pytest.mark.parametrize("percentages", [[], [50], [100, 50], [0, 100], [50, 50, 100], [100, 200]])
def test_percentages_that_do_not_rise_to_100_are_refused(percentages) -> None:
    with pytest.raises(AnsibleFilterError, match="rising numbers that end with 100"):
        waves.plan(["a"], {"a": {}}, percentages)


def test_an_empty_fleet_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no robot matches"):
        waves.plan([], {})


@pytest.mark.parametrize(
    ("result", "stage", "metric"),
    [
        (None, "UNVERIFIED", None),
        ({}, "UNVERIFIED", None),
        ({"changed": True, "failed": False}, "UNVERIFIED", None),
        ({"verified": "True"}, "UNVERIFIED", None),
        ({"unreachable": True, "msg": "no route"}, "UNREACHABLE", "unreachable"),
        ({"silent": True, "msg": "no answer"}, "SILENT", "silent"),
        ({"skipped": True}, "SKIPPED", None),
        ({"code": 5, "msg": "is revoked"}, "REFUSED", "refused"),
        ({"code": 6, "msg": "is running since"}, "LOCKED", "locked"),
        ({"code": 5, "failure": {"stage": "WAIT", "metric": "error"}}, "WAIT", "error"),
        (FAILED, "PROBATION", "p99"),
    ],
)
def test_anything_but_proof_is_a_failure(result, stage, metric) -> None:
    found = waves.verdict(START, ["a"], {"a": {"reg": result} if result is not None else {}}, "reg", NEW, ["a"])

    assert found["halted"] and found["passed"] == []
    assert (found["failed"]["a"]["stage"], found["failed"]["a"]["metric"]) == (stage, metric)
    assert found["failed"]["a"]["message"]


@pytest.mark.parametrize(
    ("bad", "canaries", "max_failed", "halted"),
    [
        ([], ["a"], 0, False),
        (["b"], ["a"], 0, True),
        (["b"], ["a"], 1, False),
        (["b", "c"], ["a"], 1, True),
        (["a"], ["a"], 3, True),
    ],
    ids=["all proved", "one too many", "one allowed", "two too many", "a canary is never allowed to fail"],
)
def test_a_wave_halts_the_rollout_by_policy(bad, canaries, max_failed, halted) -> None:
    hostvars = {host: {"reg": FAILED if host in bad else PROVED} for host in "abc"}

    found = waves.verdict(START, list("abc"), hostvars, "reg", NEW, canaries, max_failed)

    assert found["halted"] is halted
    assert found["passed"] == [host for host in "abc" if host not in bad]
    assert list(found["failed"]) == bad


def test_failures_of_earlier_waves_count_and_are_not_asked_again() -> None:
    first = waves.verdict(START, ["b"], {"b": {"reg": FAILED}}, "reg", NEW, ["a"], 1)

    second = waves.verdict(first, ["b", "c"], {"b": {"reg": PROVED}, "c": {"reg": FAILED}}, "reg", NEW, ["a"], 1)

    assert not first["halted"] and second["halted"]
    assert second["failed"]["b"] == first["failed"]["b"]


def test_a_halted_rollout_stays_halted() -> None:
    assert waves.verdict(START | {"halted": True}, ["a"], {"a": {"reg": PROVED}}, "reg", NEW, [])["halted"]


@pytest.mark.parametrize(
    ("result", "target"),
    [
        ({"touched": True, "before": OLD, "running": NEW}, OLD),
        ({"touched": True, "before": OLD, "running": OLD}, OLD),
        ({"touched": True, "before": OLD, "running": None, "silent": True}, OLD),
        ({"touched": True, "before": None, "running": NEW}, "previous"),
        ({"touched": True, "before": None, "running": None, "silent": True}, "previous"),
        ({"touched": True, "before": None, "running": None}, None),
        ({"touched": False, "before": OLD}, None),
        ({"skipped": True}, None),
        ({"unreachable": True}, None),
    ],
)
def test_a_robot_goes_back_to_what_it_ran_before(result, target) -> None:
    assert waves.undo_target(result) == target


def test_a_key_is_named_by_the_hash_of_its_contents() -> None:
    der = b"\x30\x59" + bytes(89)
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n"

    assert waves.key_name(pem) == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize(
    "pem",
    ["", "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----",
     "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----"],
)  # fmt: skip
def test_anything_but_one_public_key_is_refused(pem) -> None:
    with pytest.raises(AnsibleFilterError, match="homeport_public_keys"):
        waves.key_name(pem)


def test_a_robot_out_of_reach_has_one_line_that_ends_with_what_to_do() -> None:
    said = "Data could not be sent: timed out\r\nConnection to 192.0.2.7 port 22 timed out"

    failure = waves.failure_of({"unreachable": True, "msg": said}, NEW)

    assert failure["message"] == (
        "out of reach (Data could not be sent: timed out Connection to 192.0.2.7 port 22 timed out); "
        "see whether it is on and answers ssh"
    )
