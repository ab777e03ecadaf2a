"""The OCI image-layout folder."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import IntegrityError, LockedError, NotFoundError, RefusedError, UsageError
from model_registry.core.files import held
from model_registry.manifests import EMPTY, EMPTY_BYTES, Descriptor, Manifest
from model_registry.packing import pack
from model_registry.refs import Reference
from model_registry.sources import Source, open_source, resolve, save_blob
from tests.fakes.model import NAME, make_model


def opened(folder: Path) -> Source:
    return open_source(f"oci:{folder}", writable=True)


def put(source: Source, name: str, text: bytes, tag: str) -> Digest:
    layer = Descriptor.of("text/plain", text)
    source.put_blob(name, layer, lambda: (text,))
    source.put_blob(name, EMPTY, lambda: (EMPTY_BYTES,))
    data = Manifest("application/x", EMPTY, (layer,)).bytes()
    source.put_manifest(name, data, tag)
    return Digest.of(data)


def test_a_missing_folder_is_not_created_by_reading(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no OCI image layout"):
        open_source(f"oci:{tmp_path / 'none'}")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_an_oci_image_layout(tmp_path: Path) -> None:
    digest = put(opened(tmp_path / "r"), "a/b", b"hello", "1.0.0")
    assert json.loads((tmp_path / "r/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((tmp_path / "r/index.json").read_text())["manifests"]
    assert entry["digest"] == str(digest)
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "a/b:1.0.0"}
    for blob in (tmp_path / "r/blobs/sha256").iterdir():
        assert Digest.of_file(blob).hex == blob.name


def test_tags_and_repositories_are_listed(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    put(source, "a/b", b"1", "1.0.0")
    put(source, "a/b", b"2", "1.1.0")
    put(source, "c", b"3", "1.0.0")
    again = open_source(f"oci:{tmp_path / 'r'}")
    assert again.repositories() == ("a/b", "c")
    assert again.tags("a/b") == ("1.0.0", "1.1.0")
    assert again.tags("a") == ()


def test_an_unknown_tag_is_told_with_those_that_exist(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    put(source, "a", b"1", "1.0.0")
    with pytest.raises(NotFoundError, match=r"a has 1\.0\.0"):
        resolve(source, Reference.parse("a:2.0.0"))


def test_a_tag_never_moves(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    first = put(source, "a", b"1", "1.0.0")
    with pytest.raises(RefusedError, match="a version never changes"):
        put(source, "a", b"2", "1.0.0")
    assert source.find("a", "1.0.0") == first
    assert put(source, "a", b"1", "1.0.0") == first


def test_entries_of_other_programs_survive(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    foreign = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1, "platform": {"os": "linux"}}
    index = {"schemaVersion": 2, "manifests": [foreign]}
    (tmp_path / "r/index.json").write_text(json.dumps(index))
    put(source, "a", b"1", "1.0.0")
    assert foreign in json.loads((tmp_path / "r/index.json").read_text())["manifests"]
    assert source.repositories() == ("a",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifests":{}}'])
def test_a_broken_index_is_one_clear_error(text: str, tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    (tmp_path / "r/index.json").write_text(text)
    with pytest.raises(UsageError, match=r"index\.json"):
        source.repositories()


def test_a_flipped_byte_leaves_nothing_behind(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    put(source, "a", b"hello", "1.0.0")
    blob = Descriptor.of("text/plain", b"hello")
    (tmp_path / "r/blobs/sha256" / blob.digest.hex).write_bytes(b"hellO")
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="damaged or was replaced"):
        save_blob(source, "a", blob, tmp_path / "out/file")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_longer_blob_is_cut_off_before_it_is_stored(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    with pytest.raises(IntegrityError, match="longer"):
        source.put_blob("a", Descriptor.of("x", b"hello"), lambda: (b"hello", b"more"))
    assert list((tmp_path / "r/blobs/sha256").iterdir()) == []


def test_pushing_again_mends_a_damaged_blob(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    put(source, "a", b"hello", "1.0.0")
    path = tmp_path / "r/blobs/sha256" / Digest.of(b"hello").hex
    path.write_bytes(b"hellO")
    put(source, "a", b"hello", "1.0.0")
    assert path.read_bytes() == b"hello"


def test_bytes_that_are_read_are_counted(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    put(source, "a", b"hello", "1.0.0")
    assert source.bytes_fetched == 0
    assert b"".join(source.stream("a", Descriptor.of("x", b"hello"))) == b"hello"
    assert source.bytes_fetched == 5


def test_a_manifest_with_another_content_is_refused(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    digest = put(source, "a", b"hello", "1.0.0")
    (tmp_path / "r/blobs/sha256" / digest.hex).write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        source.manifest("a", digest)


def test_publishers_in_parallel_lose_nothing(tmp_path: Path) -> None:
    opened(tmp_path / "r")
    threads = [
        threading.Thread(target=lambda n=n: put(opened(tmp_path / "r"), "a", bytes([n]), f"1.0.{n}")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(opened(tmp_path / "r").tags("a")) == 8


def test_a_held_lock_is_an_error_of_its_own(tmp_path: Path) -> None:
    with (
        held(tmp_path / "lock", 1.0, "first"),
        pytest.raises(LockedError, match="second"),
        held(tmp_path / "lock", 0.0, "second"),
    ):
        pass
    with held(tmp_path / "lock", 0.0, "third"):
        pass


def test_a_packed_model_can_be_found_by_its_version(tmp_path: Path) -> None:
    source = opened(tmp_path / "r")
    words, digest = pack(make_model(tmp_path / "m"), source)
    assert resolve(source, Reference.parse(f"{NAME}:1.0.0")) == digest
    assert words.version == "1.0.0"
