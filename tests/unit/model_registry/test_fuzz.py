"""Spoiled documents of every kind, a sample of them: what comes out is a value or one error of ours, on one line.

A million of them, and what they cost in memory, are in test_fuzz_million.py.
"""

from __future__ import annotations

import pytest

from tests.fakes.unseen import unseen
from tests.testbed.fuzz import FuzzedKind, kinds, run

SAMPLE = 10_000


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_the_good_documents_that_are_spoiled_can_be_read(kind: FuzzedKind) -> None:
    for good in kind.good:
        assert kind.read(good) is not None


def test_only_errors_of_ours_come_out_of_spoiled_documents() -> None:
    found = run(0, SAMPLE, unseen)
    assert found.documents == SAMPLE and found.foreign == [] and found.unseen == []
    names = {kind.name for kind in kinds()}
    assert set(found.read) == set(found.refused) == names, "each kind is read sometimes, and refused sometimes"
