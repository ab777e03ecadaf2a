"""What a robot says is shown by Ansible line by line, whatever is written in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homeport.fleet.plugins.filter.reports import report, restored, table, targets
from ansible_collections.homeport.fleet.plugins.filter.statuses import status_table, statuses
from ansible_collections.homeport.fleet.plugins.filter.visible import FilterModule
from ansible_collections.homeport.fleet.plugins.filter.waves import failure_of
from ansible_collections.homeport.fleet.plugins.module_utils import agent, visible
from model_registry.core import visible as ours
from tests.fakes.unseen import CHARACTERS, HALVES, SEEN, unseen
from tests.unit.ansible.test_statuses import WELL
from tests.unit.ansible.test_waves import NEW

BAD = CHARACTERS + HALVES + SEEN
FAILURE = {"release": NEW, "stage": BAD, "metric": BAD, "value": None, "threshold": None, "message": BAD}
RUNNING = {"digest": NEW, "version": BAD, "name": BAD}
STATUS: dict[str, Any] = WELL | {
    "stage": BAD,
    "healthy": False,
    "problems": [BAD],
    **dict.fromkeys(("running", "current", "previous", "fallback"), RUNNING),
    "staged": [BAD],
    "quarantined": [],
    "motion": {"state": BAD, "armed": True, "held": [{"owner": BAD, "reason": BAD}], "stopped_by": [BAD]},
    "disk": {"folder": BAD, "free_bytes": 1, "shortage": BAD},
    "engine": {"alive": False, "trouble": BAD},
    "clock": {"stands": BAD, "doubt": BAD},
    "way_back": {"release": NEW, "reason": BAD},
    "last": {"wall": BAD, "stage": "FAILED", "release": NEW, "deployment": BAD},
    "failure": FAILURE,
    "log": [BAD],
}
CHECKED = {"checks": [{"check": BAD, "verdict": "fail", "text": BAD, "fix": BAD}]}


def texts(value: object) -> list[str]:
    """Every key and text in a value."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def nobody_sees(value: object) -> list[str]:
    return [ascii(text) for text in texts(value) if unseen(text) or "\n" in text]


def test_the_collection_shows_foreign_text_as_the_rest_does() -> None:
    assert Path(visible.__file__).read_text() == Path(ours.__file__).read_text()
    assert FilterModule().filters()["homeport_visible"]({BAD: [BAD, 1, None]}) == {
        ours.visible(BAD): [ours.visible(BAD), 1, None]
    }


def test_every_word_of_an_answer_is_made_visible_before_ansible_has_it() -> None:
    found = agent.read_answer(json.dumps({"v": 1, "ok": True, "result": STATUS | {BAD: BAD}}), "", 0)

    assert (
        nobody_sees(found) == []
        and found["way_back"]["release"] == NEW
        and found[ours.visible(BAD)] == ours.visible(BAD)
    )


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (json.dumps({"v": 1, "ok": False, "error": {"code": 5, "message": BAD}, "result": {"failure": FAILURE}}), ""),
        (BAD, ""),
        ("", BAD),
        ("[" * 100_000, BAD),
        (json.dumps([BAD]), ""),
    ],
)
def test_whatever_an_agent_ends_with_the_error_is_one_line_that_one_sees(stdout: str, stderr: str) -> None:
    with pytest.raises(agent.AgentError) as caught:
        agent.read_answer(stdout, stderr, 1)

    assert nobody_sees([str(caught.value), caught.value.result]) == []


def test_tables_and_summaries_have_a_line_for_each_robot_and_each_note() -> None:
    """Also where Ansible itself has made the result, of what ssh has printed."""
    hostvars = {
        "a": {"reg": {"verified": True, "status": STATUS}, "doc": {"result": CHECKED}},
        "b": {"reg": {"unreachable": True, "msg": BAD}, "doc": {"msg": BAD}},
    }
    found = statuses(hostvars, hostvars, "reg", NEW, "doc")
    shown = status_table(found["hosts"])
    assert unseen(shown + found["summary"]) == [] and "\n" not in found["summary"] and SEEN in shown
    assert shown.count("\n") + 1 == 3 + 8

    back = restored(hostvars, hostvars, "reg")
    shown = table(back["hosts"]) + targets(hostvars, hostvars, "reg", "previous")
    assert unseen(shown + back["summary"]) == [] and "\n" not in back["summary"] and shown.count("\n") == 4

    plan = {"order": ["a", "b"], "waves": [["a", "b"]]}
    judged = {"halted": True, "failed": {"b": failure_of(hostvars["b"]["reg"], NEW)}, "passed": []}
    robots = {
        "a": {"homeport_staged": {"status": STATUS, "result": {"plan": {"steps": [BAD], "bytes": 1}}}},
        "b": {"homeport_staged": hostvars["b"]["reg"]},
    }
    told = report(plan, robots, judged, NEW, "make deploy")
    shown = table(told["hosts"])
    assert unseen(shown + told["summary"]) == [] and "\n" not in told["summary"] and shown.count("\n") == 2
