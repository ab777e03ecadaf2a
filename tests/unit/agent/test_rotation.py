"""Keys come and go: whatever was rotated, a robot restarts healthy and rolls back, and nothing new is believed that an
old key signs.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_COUNTER
from model_registry.core.layout import Layout
from model_registry.core.trust import PAYLOAD_TYPE
from tests.fakes.rig import Answer, Rig
from tests.fakes.schemas import check
from tests.fakes.trust import Signer, record, trust_document
from tests.unit.agent.test_revocations import line, tell


def follow(rig: Rig, document: bytes) -> Answer:
    path = rig.root / "trust.dsse.json"
    path.write_bytes(document)
    return rig.run("trust", str(path))


def restart(rig: Rig) -> dict[str, Any]:
    """Everything ends, as with a power cut; what the robot says when it has come up again."""
    rig.stop_agent(kill=True)
    rig.start_agent()
    rig.until(lambda: rig.status()["healthy"], "the robot is healthy again")
    return rig.status()


def retire(layout: Layout, key: Signer) -> None:
    """What the role `device` does with a key that signs no more."""
    key.install(layout.keys / "retired")
    (layout.keys / key.file).unlink()


def by_folder(rig: Rig, old: Signer, new: Signer) -> None:
    new.install(rig.layout.keys)
    retire(rig.layout, old)


def by_document(rig: Rig, old: Signer, new: Signer) -> None:
    document = trust_document(1, [old], [new])
    payload, _ = dsse.read_payload(document, PAYLOAD_TYPE, "document")
    check(json.loads(payload), "trust")
    answer = follow(rig, document)
    assert answer.code == 0 and answer.result["changed"] and answer.result["version"] == "1"


def by_document_and_folder(rig: Rig, old: Signer, new: Signer) -> None:
    """A fleet that followed the document, and whose role `device` is applied later."""
    by_document(rig, old, new)
    by_folder(rig, old, new)


@pytest.mark.parametrize("rotate", [by_folder, by_document, by_document_and_folder])
def test_after_a_rotation_a_robot_restarts_healthy_and_rolls_back_and_old_keys_sign_nothing_new(
    rig: Rig, rotate: Any
) -> None:
    old, new = Signer(rig.key), Signer()
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    late = rig.publish("1.2.0")
    rotate(rig, old, new)

    assert restart(rig)["running"]["digest"] == two
    refused = rig.run("stage", late)
    assert refused.code == 5 and "signed by a retired key" in refused.message
    assert rig.run("rollback").code == 0 and rig.status()["running"]["digest"] == one
    assert restart(rig)["running"]["digest"] == one
    assert line(rig, "keys").verdict == "ok" and "1 retired" in line(rig, "keys").text

    rig.key, rig.key_id = new.private, new.id
    assert rig.deploy(rig.publish("1.3.0")).code == 0


def test_what_was_staged_and_never_committed_is_refused_once_its_key_is_retired(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    assert rig.deploy(one).code == 0 and rig.run("stage", two).code == 0
    by_folder(rig, Signer(rig.key), Signer())
    refused = rig.run("switch", two)
    assert refused.code == 5 and "signed by a retired key" in refused.message
    assert rig.status()["healthy"]


def test_a_release_that_was_committed_here_is_staged_again_though_its_key_is_retired(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    by_folder(rig, Signer(rig.key), Signer())
    (rig.layout.release(Digest.parse(one)).envelope).unlink()
    assert rig.run("rollback").code == 5
    assert rig.run("stage", one).code == 0
    assert rig.run("rollback").code == 0 and rig.status()["running"]["digest"] == one


def test_a_document_that_the_keys_did_not_sign_or_that_is_older_changes_nothing(rig: Rig) -> None:
    old, new, stranger = Signer(rig.key), Signer(), Signer()
    for document in (trust_document(1, [stranger], [stranger]), trust_document(1, [new], [new]), b"{}"):
        assert follow(rig, document).code in (2, 5)
    assert not rig.layout.trust.exists()
    second = trust_document(2, [old], [new])
    assert follow(rig, second).code == 0 and not follow(rig, second).result["changed"]
    kept = sorted(rig.layout.trust.iterdir())
    for document in (trust_document(1, [new], [old]), trust_document(2, [new], [old]), trust_document(3, [old], [old])):
        assert follow(rig, document).code == 5
    assert sorted(rig.layout.trust.iterdir()) == kept


def test_two_of_three_refuses_one_signature_on_releases_records_and_documents(rig: Rig) -> None:
    old, anna, ben, carl = Signer(rig.key), Signer(), Signer(), Signer()
    one = rig.publish("1.0.0")
    assert rig.deploy(one).code == 0
    assert follow(rig, trust_document(1, [old], [anna, ben, carl], threshold=2)).code == 0
    rig.key, rig.key_id = anna.private, anna.id
    alone = rig.publish("1.1.0")

    wanted = "1 valid signatures, and 2 are needed"
    answers = (
        rig.run("stage", alone),
        tell(rig, one, record(1, anna).decode()),
        follow(rig, trust_document(2, [anna], [anna])),
    )
    assert [(answer.code, wanted in answer.message) for answer in answers] == [(5, True)] * 3

    rig.sign_also(alone, ben)
    assert rig.deploy(alone).code == 0 and rig.run("rollback").code == 0
    assert tell(rig, one, record(1, anna, carl).decode()).code == 0
    assert restart(rig)["running"]["digest"] == one


@pytest.mark.parametrize("fault", [b"", b"?", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_broken_key_file_beside_good_ones_is_named_and_stops_neither_stage_nor_rollback(
    rig: Rig, fault: bytes
) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    assert rig.deploy(one).code == 0
    broken = rig.layout.keys / f"{'0' * 64}.pub"
    broken.write_bytes(fault)
    assert rig.deploy(two).code == 0 and rig.run("rollback").code == 0
    assert line(rig, "keys").verdict == "warn" and str(broken) in line(rig, "keys").text


def test_trust_documents_that_cannot_be_read_leave_the_robot_driving_and_let_nobody_sign(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    for release in (one, two):
        assert rig.deploy(release).code == 0
    assert follow(rig, trust_document(1, [Signer(rig.key)], [Signer(rig.key)])).code == 0
    (rig.layout.trust / "1.dsse.json").write_bytes(b"{")

    assert restart(rig)["running"]["digest"] == two
    refused = rig.run("stage", rig.publish("1.2.0"))
    assert refused.code == 5 and "nothing can be trusted" in refused.message
    assert line(rig, "keys").verdict == "fail" and "1.dsse.json" in line(rig, "keys").text
    assert rig.run("rollback").code == 0


def test_a_counter_of_releases_that_was_driven_up_has_a_signed_way_out(rig: Rig) -> None:
    def high(fields: dict[str, Any]) -> None:
        fields["counter"] = fields["minimum_counter"] = MAX_COUNTER

    beyond = rig.publish("9.0.0", change=lambda fields: fields.update(counter=MAX_COUNTER + 1))
    assert rig.run("stage", beyond).code == 2
    assert rig.deploy(rig.publish("9.1.0", change=high)).code == 0
    good, new = Signer(rig.key), Signer()
    refused = rig.run("stage", rig.publish("1.0.0"))
    assert refused.code == 5 and "below this robot's floor" in refused.message

    assert follow(rig, trust_document(1, [good], [new], minimum_counter=1)).code == 0

    rig.key, rig.key_id = new.private, new.id
    assert rig.deploy(rig.publish("1.0.1")).code == 0
