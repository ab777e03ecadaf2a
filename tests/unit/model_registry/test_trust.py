"""Who is trusted: keys in use, keys that are retired, and trust documents that lead from the one to the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_registry.core.documents import MAX_COUNTER, dump
from model_registry.core.dsse import Key
from model_registry.core.errors import HomeportError, RefusedError, UntrustedError, UsageError
from model_registry.core.trust import PAYLOAD_TYPE, Trust, TrustDocument
from tests.fakes.trust import Signer, envelope, trust_document

A, B, C, D = (Signer() for _ in range(4))
TYPE = "application/x"


def loaded(folder: Path, *documents: bytes) -> Trust:
    """The trust of a machine with key A, where these documents lie one after the other."""
    A.install(folder / "keys")
    (folder / "trust").mkdir(exist_ok=True)
    for number, document in enumerate(documents, 1):
        (folder / "trust" / f"{number}.dsse.json").write_bytes(document)
    return Trust.load(folder / "keys", folder / "trust")


def test_without_a_trust_document_each_key_signs_alone(tmp_path: Path) -> None:
    B.install(tmp_path / "keys")
    trust = loaded(tmp_path)
    assert (trust.number, trust.threshold, trust.broken) == (0, 1, ())
    for signer in (A, B):
        assert trust.verify(envelope(TYPE, b"{}", signer), TYPE, "x") == b"{}"
    with pytest.raises(UntrustedError, match="no valid signature"):
        trust.verify(envelope(TYPE, b"{}", C), TYPE, "x")


def test_a_retired_key_proves_what_is_old_and_signs_nothing_new(tmp_path: Path) -> None:
    B.install(tmp_path / "keys" / "retired")
    trust, signed = loaded(tmp_path), envelope(TYPE, b"{}", B)
    assert trust.prove(signed, TYPE, "x") == b"{}"
    with pytest.raises(UntrustedError, match="signed by a retired key"):
        trust.verify(signed, TYPE, "x")


def test_each_document_is_signed_by_those_before_it(tmp_path: Path) -> None:
    first = trust_document(1, [A], [B, C, D], threshold=2)
    second = trust_document(2, [B, D], [C, D])
    trust = loaded(tmp_path, first, second)
    assert trust.number == 2 and {key.id for key in trust.keys} == {C.id, D.id}
    assert {key.id for key in trust.retired} == {A.id, B.id} and trust.broken == ()
    assert trust.prove(envelope(TYPE, b"{}", A), TYPE, "x") == b"{}"
    with pytest.raises(UntrustedError, match="retired"):
        trust.after(trust_document(3, [B], [B]))


def test_two_of_three_refuses_one_signature(tmp_path: Path) -> None:
    trust = loaded(tmp_path, trust_document(1, [A], [B, C, D], threshold=2))
    assert trust.verify(envelope(TYPE, b"{}", B, D), TYPE, "x") == b"{}"
    for signed in (envelope(TYPE, b"{}", B), envelope(TYPE, b"{}", B, B), envelope(TYPE, b"{}", B, A)):
        with pytest.raises(UntrustedError):
            trust.verify(signed, TYPE, "x")
    with pytest.raises(UntrustedError, match="1 valid signatures, and 2 are needed"):
        trust.after(trust_document(2, [C], [C]))
    assert trust.prove(envelope(TYPE, b"{}", B), TYPE, "x") == b"{}", "what is old was checked when it was new"


def test_a_number_that_does_not_rise_is_refused_and_the_same_document_changes_nothing(tmp_path: Path) -> None:
    document = trust_document(5, [A], [B])
    trust = loaded(tmp_path, document)
    assert trust.after(document) is trust
    assert trust.after(trust_document(7, [B], [A])).number == 7
    with pytest.raises(RefusedError, match="another one with this number"):
        trust.after(trust_document(5, [B], [A]))
    with pytest.raises(RefusedError, match="knows 5 already"):
        trust.after(trust_document(4, [B], [A]))


@pytest.mark.parametrize("fault", ["foreign", "cut", "missing"])
def test_documents_that_cannot_be_followed_let_nobody_sign_and_everybody_prove(tmp_path: Path, fault: str) -> None:
    first, second = trust_document(1, [A], [B]), trust_document(2, [B], [C])
    spoiled = {"foreign": trust_document(1, [D], [D]), "cut": first[:-9]}.get(fault, first)
    loaded(tmp_path, spoiled, second)
    if fault == "missing":
        (tmp_path / "trust/1.dsse.json").unlink()
    trust = Trust.load(tmp_path / "keys", tmp_path / "trust")
    assert trust.keys == () and len(trust.broken) == 1 and "trust/" in trust.broken[0]
    with pytest.raises(UntrustedError, match="nothing can be trusted"):
        trust.verify(envelope(TYPE, b"{}", A), TYPE, "x")
    assert trust.prove(envelope(TYPE, b"{}", A), TYPE, "x") == b"{}"


def test_the_first_document_may_be_signed_by_a_key_that_was_retired_since(tmp_path: Path) -> None:
    loaded(tmp_path, trust_document(1, [A], [B]))
    (tmp_path / "keys" / A.file).unlink()
    A.install(tmp_path / "keys" / "retired")
    C.install(tmp_path / "keys")
    trust = Trust.load(tmp_path / "keys", tmp_path / "trust")
    assert [key.id for key in trust.keys] == [B.id] and {key.id for key in trust.retired} == {A.id, C.id}


def test_a_broken_key_file_is_named_where_no_signature_counts(tmp_path: Path) -> None:
    trust = loaded(tmp_path)
    (tmp_path / "keys" / "broken.pub").write_bytes(b"?")
    trust = Trust.load(tmp_path / "keys", tmp_path / "trust")
    assert trust.verify(envelope(TYPE, b"{}", A), TYPE, "x") == b"{}"
    with pytest.raises(UntrustedError, match=r"not usable: .*broken\.pub"):
        trust.verify(envelope(TYPE, b"{}", B), TYPE, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0}, {"number": MAX_COUNTER + 1}, {"number": 10**400}, {"number": True}, {"threshold": 0},
        {"threshold": 3}, {"threshold": 9}, {"keys": []}, {"keys": [A.public.decode()] * 2}, {"keys": ["x"]},
        {"keys": [A.private.curve.name]}, {"minimum_counter": -1}, {"minimum_counter": MAX_COUNTER + 1}, {"more": 1},
        {"schema": 2},
    ],
    ids=lambda change: "-".join(f"{key} {str(value)[:12]}" for key, value in change.items()),
)  # fmt: skip
def test_a_document_with_something_else_in_it_is_none(change: dict[str, object]) -> None:
    fields = {"schema": 1, "number": 1, "threshold": 1, "keys": [A.public.decode(), B.public.decode()]}
    assert TrustDocument.parse(dump(fields)).number == 1
    with pytest.raises(UsageError):
        TrustDocument.parse(dump({**fields, **change}))


def test_a_document_is_written_as_it_is_read() -> None:
    keys = tuple(Key(signer.id, signer.public) for signer in (B, A))
    payload = TrustDocument(3, 2, keys, 7).payload()
    read = TrustDocument.parse(payload)
    assert read.payload() == payload and (read.number, read.threshold, read.minimum_counter) == (3, 2, 7)


def test_what_is_no_envelope_is_one_error_of_ours(tmp_path: Path) -> None:
    trust = loaded(tmp_path)
    for data in (b"", b"{}", b"\xff", envelope("application/y", b"{}", A), envelope(PAYLOAD_TYPE, b"{", A)):
        with pytest.raises(HomeportError):
            trust.after(data)
