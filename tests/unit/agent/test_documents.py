"""A release on the robot whose documents were damaged: staging it again mends them."""

from __future__ import annotations

import pytest

from model_registry.core.digest import Digest
from tests.fakes.rig import Rig


@pytest.mark.parametrize("part", ["release.dsse.json", "release.json"])
@pytest.mark.parametrize("torn", [False, True], ids=["missing", "torn"])
def test_staging_again_mends_a_document_and_blames_nobody(any_rig: Rig, part: str, torn: bool) -> None:
    rig = any_rig
    one = rig.publish("1.0.0")
    assert rig.run("stage", one).code == 0
    path = rig.layout.release(Digest.parse(one)).path / part
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2]) if torn else path.unlink()
    assert "FETCH" in rig.run("stage", one, "--dry-run").result["plan"]["steps"]

    answer = rig.run("stage", one)

    assert answer.code == 0 and answer.result["changed"], answer.document
    assert path.read_bytes() == whole and not list(rig.layout.ingest.iterdir())
    assert rig.status()["quarantined"] == [] and rig.run("switch", one).code == 0
