"""Names are checked before they become paths or requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_registry.core.errors import UsageError
from model_registry.refs import Address, Reference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("oci:some/folder", "oci:some/folder"),
        ("https://registry.example", "https://registry.example"),
        ("https://registry.example:5000/", "https://registry.example:5000"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("https://registry.example/acme/robots/", "https://registry.example/acme/robots"),
    ],
)
def test_a_source_is_read(text: str, shown: str) -> None:
    assert str(Address.parse(text)) == shown


def test_a_folder_source_keeps_its_path() -> None:
    assert Address.parse("oci:/a/b").folder == Path("/a/b")


@pytest.mark.parametrize(
    "text",
    [
        "", "oci:", "registry.example", "ftp://registry.example", "http://registry.example", "http://127.0.0.1.example",
        "https://", "https://user:secret@registry.example", "https://registry.example/A//b", "https://h?x=1",
        "https://h#x", "https://h:99999", "https://h:x", "https://[::1", "https://a b",
    ],
)  # fmt: skip
def test_a_wrong_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="source"):
        Address.parse(text)


def test_references_name_a_tag_or_a_digest() -> None:
    assert Reference.parse("models/pilot:1.0.0") == Reference("models/pilot", "1.0.0", None)
    assert str(Reference.parse(f"models/pilot@sha256:{HEX}")) == f"models/pilot@sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        "", "models/pilot", "models/pilot:", ":1.0.0", "../x:1.0.0", "/x:1", "Models:1", "a//b:1", "a:-x",
        "a:" + "t" * 129,
        "a:b/c", "a@sha256:abc", f"a@SHA256:{HEX}", f"a@sha256:{HEX.upper()}", f"a:1@sha256:{HEX}", "a" * 201 + ":1",
        "a:1\n", f"a@sha256:{HEX}\n",
    ],
)  # fmt: skip
def test_a_wrong_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)


def test_a_tag_is_refused_where_a_digest_belongs() -> None:
    with pytest.raises(UsageError, match="give the digest, not a tag"):
        Reference.pinned("models/pilot:1.0.0")


def test_a_home_that_nobody_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"~nobody-here/x: .*; write the whole path"):
        Address.parse("oci:~nobody-here/x")
