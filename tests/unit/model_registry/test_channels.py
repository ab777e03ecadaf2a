"""Channel records: made, renewed and checked on the command line, and refused when they say what nobody may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry import keys
from model_registry.cli import app
from model_registry.cli.entry import run
from model_registry.core import dsse
from model_registry.core.channel import MOST_REVOKED, PAYLOAD_TYPE, ChannelRecord
from model_registry.core.documents import dump
from model_registry.core.errors import UsageError
from tests.fakes.recipe import make_key
from tests.fakes.schemas import check
from tests.fakes.trust import Signer, trust_document

A, B = (f"sha256:{letter * 64}" for letter in "ab")
FIELDS = {
    **{"schema": 1, "name": "pilot", "channel": "stable", "seq": 3, "digest": A},
    **{"expires": "2027-01-31", "min_version": "1.0.0", "revoked": [B]},
}


class Desk:
    """Where records are signed."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture
        self.key, self.document = make_key(folder / "keys"), folder / "channel.json"
        self.document.write_text(json.dumps(FIELDS, indent=2))

    def __call__(self, verb: str, *words: object) -> tuple[int, str]:
        """Exit code, and stdout or the error."""
        code = run(app, ["channel", verb, *map(str, words)])
        out, err = self._capture.readouterr()
        return code, out or err


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_a_document_is_signed_and_its_signature_is_checked(desk: Desk) -> None:
    code, envelope = desk("sign", desk.document, "--key", desk.key)
    assert code == 0
    (desk.folder / "record").write_text(envelope)

    code, text = desk("show", desk.folder / "record", "--keys", desk.folder / "keys")

    assert code == 0 and json.loads(text) == FIELDS
    check(json.loads(text), "channel")
    payload, _ = dsse.read_payload(envelope.encode(), PAYLOAD_TYPE, "record")
    assert payload == dump(FIELDS) and desk("sign", desk.document, "--key", desk.key) == (0, envelope)


def test_what_is_no_record_or_not_ours_is_refused(desk: Desk) -> None:
    other = make_key(desk.folder / "others", "other")
    (desk.folder / "record").write_text(desk("sign", desk.document, "--key", other)[1])
    code, text = desk("show", desk.folder / "record", "--keys", desk.folder / "keys")
    assert code == 5 and "no valid signature" in text
    assert desk("sign", desk.folder / "nowhere", "--key", desk.key)[0] == 1
    desk.document.write_text(json.dumps({**FIELDS, "revoked": [A]}))
    code, text = desk("sign", desk.document, "--key", desk.key)
    assert (
        code == 2
        and text == f"error: channel.revoked: expected at most {MOST_REVOKED} releases, and not the one in `digest`\n"
    )


def test_the_example_is_one(desk: Desk) -> None:
    example = Path(__file__).parents[3] / "docs/examples/channel.json"
    check(json.loads(example.read_bytes()), "channel")
    assert desk("sign", example, "--key", desk.key)[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0}, {"digest": "stable"}, {"expires": "soon"}, {"channel": "Stable"}, {"min_version": "1"}, {"more": 1},
        {"revoked": [A]}, {"revoked": ["B"]}, {"revoked": [f"sha256:{n:064x}" for n in range(MOST_REVOKED + 1)]},
        {"schema": 2},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_document_with_something_else_in_it_is_no_record(change: dict[str, object]) -> None:
    assert ChannelRecord.parse(dump(FIELDS)).payload() == dump(FIELDS)
    with pytest.raises(UsageError, match="channel"):
        ChannelRecord.parse(dump({**FIELDS, **change}))


def test_a_folder_of_keys_with_a_trust_document_asks_for_as_many_signatures_as_that_says(desk: Desk) -> None:
    first, second = Signer(keys.load(desk.key)), make_key(desk.folder / "second", "second")
    both = [first, Signer(keys.load(second))]
    (desk.folder / "keys/trust").mkdir()
    (desk.folder / "keys/trust/1.dsse.json").write_bytes(trust_document(1, [first], both, threshold=2))
    record = desk.folder / "record"
    for words, wanted in (((desk.key,), 5), ((desk.key, "--key", second), 0)):
        record.write_text(desk("sign", desk.document, "--key", *words)[1])
        assert desk("show", record, "--keys", desk.folder / "keys")[0] == wanted
