"""Attacks on a signed document.

Nothing but the exact bytes that a trusted P-256 key signed, under their own type, gets through.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry import keys
from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError, UntrustedError, UsageError

TYPE = "application/vnd.homeport.release.v1+json"
PAYLOAD = b'{"counter":1}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.generate(tmp_path / "keys", "good")
    return tmp_path / "keys"


def signed(folder: Path, name: str = "good", kind: str = TYPE, payload: bytes = PAYLOAD) -> bytes:
    return keys.sign(kind, payload, keys.load(folder / f"{name}.key"))


def verify(data: bytes, folder: Path) -> bytes:
    payload, _ = dsse.verify(data, TYPE, dsse.trusted_keys(folder), "release")
    return payload


def test_an_appended_key_id_is_not_taken_for_the_one_that_signed(folder: Path) -> None:
    stranger = {"keyid": "0" * 64, "sig": ""}
    data = signed(folder)
    data = edited(data, signatures=[stranger, *json.loads(data)["signatures"]])

    _, signers = dsse.verify(data, TYPE, dsse.trusted_keys(folder), "release")

    assert list(signers) == [trusted.id for trusted in dsse.trusted_keys(folder)]


def edited(data: bytes, **changes: object) -> bytes:
    return dump({**json.loads(data), **changes})


def test_the_payload_comes_back(folder: Path) -> None:
    assert verify(signed(folder), folder) == PAYLOAD


def test_the_encoding_is_that_of_the_specification() -> None:
    assert (
        dsse.pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def entry(data: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(data)["signatures"][0]
    return found


ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    "another payload": lambda data: edited(data, payload=base64.b64encode(b'{"counter":2}').decode()),
    "another type": lambda data: edited(data, payloadType="application/vnd.homeport.channel.v1+json"),
    "no signature": lambda data: edited(data, signatures=[]),
    "too many signatures": lambda data: edited(data, signatures=[entry(data)] * 9),
    "empty signature": lambda data: edited(data, signatures=[{**entry(data), "sig": ""}]),
    "wrong signature": lambda data: edited(
        data, signatures=[{**entry(data), "sig": base64.b64encode(b"0" * 70).decode()}]
    ),
    "unknown key": lambda data: edited(data, signatures=[{**entry(data), "keyid": "0" * 64}]),
    "key id with a path": lambda data: edited(data, signatures=[{**entry(data), "keyid": "../good"}]),
    "no base64": lambda data: edited(data, payload="%%%"),
    "an extra key": lambda data: edited(data, extra=1),
    "an extra key in a signature": lambda data: edited(data, signatures=[{**entry(data), "cert": "x"}]),
    "a payload that comes twice": lambda data: data[:-1] + b',"payload":"' + base64.b64encode(b"{}") + b'"}',
    "a type that comes twice": lambda data: data[:-1] + b',"payloadType":"x"}',
    "too long": lambda data: edited(data, payload=base64.b64encode(b"x" * 200_000).decode()),
    "too deep": lambda data: edited(data, signatures=json.loads("[" * 40 + "]" * 40)),
    "not JSON": lambda data: data[:-1],
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_is_refused(attack: str, folder: Path) -> None:
    with pytest.raises(HomeportError) as caught:
        verify(ATTACKS[attack](signed(folder)), folder)
    assert isinstance(caught.value, (UntrustedError, UsageError))
    assert "\n" not in str(caught.value)


def test_a_signature_over_another_type_does_not_count(folder: Path) -> None:
    channel = signed(folder, kind="application/vnd.homeport.channel.v1+json")
    with pytest.raises(UntrustedError):
        verify(edited(channel, payloadType=TYPE), folder)


def test_a_signature_over_the_bare_payload_does_not_count(folder: Path) -> None:
    key = keys.load(folder / "good.key")
    bare = key.sign(PAYLOAD, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(UntrustedError):
        verify(dsse.envelope(TYPE, PAYLOAD, [(dsse.key_id(keys.public_pem(key), "k"), bare)]), folder)


def test_a_key_nobody_installed_is_refused(folder: Path, tmp_path: Path) -> None:
    keys.generate(tmp_path / "other", "evil")
    with pytest.raises(UntrustedError, match="check who signed it"):
        verify(signed(tmp_path / "other", "evil"), folder)


def test_a_stranger_cannot_borrow_a_trusted_key_id(folder: Path, tmp_path: Path) -> None:
    keys.generate(tmp_path / "other", "evil")
    data = signed(tmp_path / "other", "evil")
    borrowed = {**entry(data), "keyid": entry(signed(folder))["keyid"]}
    with pytest.raises(UntrustedError):
        verify(edited(data, signatures=[borrowed]), folder)


def test_one_good_signature_among_others_is_enough(folder: Path) -> None:
    data = signed(folder)
    assert verify(edited(data, signatures=[{"keyid": "0" * 64, "sig": ""}, entry(data)]), folder) == PAYLOAD


def test_a_p384_key_is_refused_although_openssl_would_take_it(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    encoding, spki = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_key().public_bytes(encoding.DER, spki)
    (tmp_path / f"{Digest.of(der).hex}.pub").write_bytes(key.public_key().public_bytes(encoding.PEM, spki))
    with pytest.raises(UntrustedError, match="not an ECDSA P-256 key"):
        dsse.trusted_keys(tmp_path)


def test_a_key_file_under_another_name_is_refused(folder: Path) -> None:
    (public,) = folder.glob("*.pub")
    public.rename(folder / f"{'0' * 64}.pub")
    with pytest.raises(UntrustedError, match="holds the key"):
        dsse.trusted_keys(folder)


@pytest.mark.parametrize("extra", [b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"#\n"])
def test_a_key_file_with_anything_more_in_it_is_refused(extra: bytes, folder: Path) -> None:
    (public,) = folder.glob("*.pub")
    public.write_bytes(extra + public.read_bytes())
    with pytest.raises(UntrustedError, match=public.name):
        dsse.trusted_keys(folder)


@pytest.mark.parametrize("fault", ["empty", "name", "folder", "long", "dangling"])
def test_a_broken_key_file_is_named_and_the_others_count(folder: Path, fault: str) -> None:
    broken = folder / f"{'0' * 64}.pub"
    if fault == "folder":
        broken.mkdir()
    elif fault == "dangling":
        broken.symlink_to("nowhere")
    else:
        (good,) = folder.glob("*.pub")
        broken.write_bytes({"name": good.read_bytes(), "long": good.read_bytes() + b" " * 5000}.get(fault, b""))

    found = dsse.read_keys(folder)

    assert len(found.broken) == 1 and found.broken[0].startswith(f"{broken}: ")
    assert verify(signed(folder), folder) == PAYLOAD


def test_so_many_keys_have_to_sign_and_one_that_signs_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    keys.generate(folder, "second")
    trusted = dsse.trusted_keys(folder)
    one, two = (entry(signed(folder, name)) for name in ("good", "second"))
    alone = edited(signed(folder), signatures=[one])
    assert len(dsse.verify(edited(alone, signatures=[one, two]), TYPE, trusted, "release", 2)[1]) == 2
    again = entry(signed(folder, payload=PAYLOAD))
    for signatures in ([one], [one, again], [one, {**two, "sig": one["sig"]}], [one, {**one, "keyid": two["keyid"]}]):
        with pytest.raises(UntrustedError, match="1 valid signatures, and 2 are needed"):
            dsse.verify(edited(alone, signatures=signatures), TYPE, trusted, "release", 2)


def test_no_keys_means_no_trust(tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="no public key"):
        dsse.trusted_keys(tmp_path / "none")
