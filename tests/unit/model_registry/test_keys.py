"""Key pairs: where they may lie, and what they are."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from model_registry import keys
from model_registry.cli import app
from model_registry.cli.entry import run
from model_registry.core import dsse
from model_registry.core.errors import NotFoundError, RefusedError, UntrustedError, UsageError
from model_registry.core.trust import Trust


def test_a_key_pair_is_made(tmp_path: Path) -> None:
    private, public = keys.generate(tmp_path / "keys", "fleet")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.name == "fleet.key"
    assert public.name == f"{keys.identity(public).hex}.pub"
    (key,) = dsse.trusted_keys(tmp_path / "keys")
    assert tmp_path / "keys" / f"{key.id.hex}.pub" == public


def test_a_repository_is_refused_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(RefusedError, match="inside the repository"):
        keys.generate(tmp_path / "deep/er", "fleet")
    assert not (tmp_path / "deep").exists()


def test_a_work_tree_whose_git_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere")
    with pytest.raises(RefusedError):
        keys.generate(tmp_path, "fleet")


def test_a_link_into_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    with pytest.raises(RefusedError):
        keys.generate(tmp_path / "link", "fleet")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    private, _ = keys.generate(tmp_path, "fleet")
    before = private.read_bytes()
    with pytest.raises(RefusedError, match="never overwritten"):
        keys.generate(tmp_path, "fleet")
    assert private.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_that_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="key name"):
        keys.generate(tmp_path, name)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    private, _ = keys.generate(tmp_path, "fleet")
    private.chmod(0o640)
    with pytest.raises(RefusedError, match="chmod 600"):
        keys.load(private)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="homeport keys generate"):
        keys.load(tmp_path / "none.key")


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(ed25519.Ed25519PrivateKey.generate()),
        private_pem(ec.generate_private_key(ec.SECP256R1()), b"password"),
    ],
    ids=["empty", "text", "P-384", "Ed25519", "encrypted"],
)
def test_anything_but_a_plain_p256_key_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(UsageError):
        keys.load(path)


def test_signing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    private, _ = keys.generate(tmp_path, "fleet")
    key = keys.load(private)
    assert keys.sign("type", b"payload", key) == keys.sign("type", b"payload", key)


def rotate(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, bytes]:
    """Exit code of `homeport keys …`, and what it printed: the document, or why there is none."""
    code = run(app, ["keys", *map(str, words)])
    out, err = capsys.readouterr()
    return code, (out if code == 0 else err).strip().encode()


def test_signing_is_handed_on_from_document_to_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, anna, ben = (keys.generate(tmp_path / name, name) for name in ("old", "anna", "ben"))
    for _, public in (anna, ben):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / public.name).write_bytes(public.read_bytes())
    code, first = rotate(capsys, "rotate", "--keys", tmp_path / "new", "--threshold", 2, "--key", old[0])
    assert code == 0
    trust = Trust.load(tmp_path / "old", tmp_path / "none").after(first)
    assert (trust.number, trust.threshold, len(trust.keys)) == (1, 2, 2)

    (tmp_path / "first").write_bytes(first)
    more = ("--after", tmp_path / "first", "--keys", tmp_path / "anna", "--minimum-counter", 4)
    code, half = rotate(capsys, "rotate", *more, "--key", anna[0])
    assert code == 0
    with pytest.raises(UntrustedError, match="1 valid signatures, and 2 are needed"):
        trust.after(half)
    (tmp_path / "half").write_bytes(half)
    code, whole = rotate(capsys, "cosign", tmp_path / "half", "--key", ben[0])
    assert code == 0 and rotate(capsys, "rotate", *more, "--key", anna[0], "--key", ben[0]) == (0, whole)
    after = trust.after(whole)
    document = after.document()
    assert document is not None and (after.number, after.threshold, document.minimum_counter) == (2, 1, 4)


def test_a_document_that_nobody_could_follow_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private, public = keys.generate(tmp_path / "keys", "one")
    folder = ("--keys", tmp_path / "keys", "--key", private)
    for words, wanted in (
        (("rotate", *folder, "--threshold", 2), b"2 of 1 keys can never sign"),
        (("rotate", *folder, "--threshold", 0), b"expected at least 1"),
        (("rotate", "--keys", tmp_path / "none", "--key", private), b"expected 1 to 16 different keys"),
        (("rotate", *folder, "--after", tmp_path / "none"), b"cannot be read"),
        (("rotate", *folder, "--after", public), b"not a valid JSON document"),
        (("cosign", public, "--key", private), b"not a valid JSON document"),
    ):
        code, said = rotate(capsys, *words)
        assert code in (1, 2) and wanted in said and b"\n" not in said, said
    (tmp_path / "keys/broken.pub").write_bytes(b"?")
    code, said = rotate(capsys, "rotate", *folder)
    assert code == 2 and b"broken.pub" in said and b"remove that file" in said
