"""`homeport fleet history`: what was done to a fleet, from its records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_registry.cli.entry import run
from stack.cli import build
from tests.fakes.schemas import check

RELEASE = f"sha256:{'ab' * 32}"
CHECKS = [
    {"metric": "inference_p99_ms", "value": 80.5, "threshold": 33.0, "ok": False, "text": "slow"},
    {"metric": "alive", "value": None, "threshold": None, "ok": True, "text": "it runs"},
]
GATE = {"schema": 1, "gate": "probation", "verdict": "unhealthy", "checks": CHECKS}
RUNNING = {"digest": RELEASE, "name": "pilot", "version": "1.1.0", "counter": 2}
HOST: dict[str, Any] = {"ok": True, "story": "done", "stage": "IDLE", "running": RUNNING, "failure": None}
HOST |= {"touched": True, "restored": None, "quarantined": False, "gates": []}
FAILURE = {"stage": "PROBATION", "metric": "inference_p99_ms", "message": "inference is too slow"}


def record(folder: Path, name: str, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "schema": 1,
        "kind": "deploy",
        "who": {"user": "ann", "host": "control-1", "folder": "/home/ann/fleet"},
        "asked": {"release": RELEASE, "robots": ["h1", "h2"], "limit": None},
        "inventory": ["hosts.yml"],
        "began": "2026-11-30T22:31:04+00:00",
        "ended": "2026-11-30T22:32:10+00:00",
        "outcome": {
            "summary": "1 of 2 robots are as wanted. h2: inference is too slow",
            "hosts": {
                "h1": HOST,
                "h2": HOST | {"ok": False, "story": "went back", "failure": FAILURE, "gates": [GATE]},
            },
        },
    }
    check(fields | changes, "rollout")
    (folder / "rollouts" / f"{name}.json").write_text(json.dumps(fields | changes))


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "hosts.yml").touch()
    record(tmp_path, "20261130T223104Z-deploy-abababababab")
    back = {"to": "previous", "robots": ["h1"], "limit": "h1"}
    record(tmp_path, "20261130T224000Z-rollback-previous", kind="rollback", asked=back, ended=None, outcome=None)
    (tmp_path / "rollouts/20261130T230000Z-status.json").write_text("")
    return tmp_path


def history(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    arguments = ["fleet", "history", *words]
    code = run(build(arguments), arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("place", ["hosts.yml", ".", "rollouts"])
def test_every_run_is_listed_also_one_without_an_end_and_a_damaged_one(
    place: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = history(capsys, str(fleet / place))

    rows = [" ".join(row.split()) for row in out.splitlines()]
    assert code == 0 and len(rows) == 4
    assert rows[1] == "20261130T223104Z-deploy-abababababab deploy abababababab ann@control-1 1 of 2 robots"
    assert rows[2].endswith("rollback previous ann@control-1 no end: it goes on, or its controller was killed")
    assert "damaged (20261130T230000Z-status.json: not a valid JSON document" in rows[3]


def test_one_is_shown_with_every_robot_and_the_figures_of_its_gates(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = history(capsys, str(fleet), "20261130T2231")

    assert code == 0
    assert "by ann on control-1, in /home/ann/fleet" in out and f"asked for: release {RELEASE}, robots h1 h2" in out
    assert "h2: went back" in out and "failed in PROBATION: inference is too slow" in out
    assert "gate probation: unhealthy (inference_p99_ms 80.5 of 33 FAILED, alive no figure)" in out
    code, out, _ = history(capsys, str(fleet), "20261130T2231", "--json")
    assert json.loads(out)["outcome"]["hosts"]["h1"]["running"]["version"] == "1.1.0"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nowhere"], "no folder rollouts"), ([".", "2026"], "3 records of that name"), ([".", "x"], "0 records")],
)
def test_what_is_not_there_is_said(
    words: list[str], message: str, fleet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fleet)
    if words[0] == "nowhere":
        words = [str(fleet / "nowhere" / "hosts.yml")]

    code, _, err = history(capsys, *words)

    assert code == 1 and message in err
