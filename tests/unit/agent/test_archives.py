"""Archives of images: only what is whole counts as one, and only while it stays whole."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.errors import IntegrityError
from model_registry.core.files import Files
from stack.agent.runtime.archives import Archives
from tests.fakes.schemas import check

IMAGE = Digest.of(b"manifest")
LAYERS = (b"layer one", b"layer two" * 1000)
CONFIGURATION = dump({"rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer)) for layer in LAYERS]}})
MANIFEST = dump(
    {
        "config": {"digest": str(Digest.of(CONFIGURATION))},
        "layers": [{"digest": str(Digest.of(layer))} for layer in LAYERS],
    }
)


def saved(*members: bytes) -> bytes:
    """What `docker save` prints, with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for data in (b"[]", *members):
            info = tarfile.TarInfo(f"blobs/sha256/{Digest.of(data).hex}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


WHOLE = saved(CONFIGURATION, *LAYERS)


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return Archives(tmp_path / "images", Files())


def pieces(data: bytes) -> list[bytes]:
    return [data[start : start + 4096] for start in range(0, len(data), 4096)]


def names(archives: Archives) -> list[str]:
    return sorted(path.suffix for path in archives.folder.iterdir())


@pytest.mark.parametrize(
    ("identity", "data"),
    [(Digest.of(CONFIGURATION), WHOLE), (Digest.of(MANIFEST), saved(MANIFEST, CONFIGURATION, *LAYERS))],
    ids=["image store", "containerd store"],
)
def test_a_whole_image_is_kept_and_found(archives: Archives, identity: Digest, data: bytes) -> None:
    archives.write(IMAGE, identity, pieces(data))

    path = archives.checked(IMAGE)

    assert path is not None and path.read_bytes() == data and names(archives) == [".json", ".tar"]
    sidecar = json.loads(path.with_suffix(".json").read_bytes())
    check(sidecar, "archive")
    assert (sidecar["identity"], sidecar["sha256"]) == (str(identity), str(Digest.of(data)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(CONFIGURATION, LAYERS[0]), str(Digest.of(LAYERS[1]))),
        (saved(*LAYERS), str(Digest.of(CONFIGURATION))),
        (WHOLE[:-12_000], "torn"),
        (b"", "torn"),
        (b"not a tar at all" * 100, "torn"),
    ],
    ids=["a layer", "the configuration", "the end", "everything", "another file"],
)
def test_what_lacks_a_part_is_no_archive(archives: Archives, data: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        archives.write(IMAGE, Digest.of(CONFIGURATION), pieces(data))
    assert names(archives) == [] and archives.find(IMAGE) is None and archives.checked(IMAGE) is None


def test_a_copy_that_breaks_off_leaves_an_earlier_one(archives: Archives) -> None:
    archives.write(IMAGE, Digest.of(CONFIGURATION), pieces(WHOLE))

    def broken() -> object:
        yield WHOLE[:100]
        raise OSError("Docker went away")

    with pytest.raises(OSError, match="went away"):
        archives.write(IMAGE, Digest.of(CONFIGURATION), broken())  # type: ignore[arg-type]
    assert archives.checked(IMAGE) is not None


def test_a_flipped_bit_is_found_before_the_copy_is_used_and_drops_it(archives: Archives) -> None:
    archives.write(IMAGE, Digest.of(CONFIGURATION), pieces(WHOLE))
    path = archives.path(IMAGE)
    path.write_bytes(WHOLE[:700] + bytes([WHOLE[700] ^ 1]) + WHOLE[701:])

    with pytest.raises(IntegrityError, match="damaged"):
        archives.checked(IMAGE)
    assert names(archives) == []


@pytest.mark.parametrize("what", ["no sidecar", "a torn sidecar", "another length", "another name"])
def test_half_of_an_archive_is_none(archives: Archives, what: str) -> None:
    archives.write(IMAGE, Digest.of(CONFIGURATION), pieces(WHOLE))
    path, sidecar = archives.path(IMAGE), archives.path(IMAGE).with_suffix(".json")
    image = IMAGE
    if what == "no sidecar":
        sidecar.unlink()
    elif what == "a torn sidecar":
        sidecar.write_bytes(sidecar.read_bytes()[:20])
    elif what == "another length":
        path.write_bytes(WHOLE[:-1])
    else:
        image = Digest.of(b"another")
        for each in (path, sidecar):
            each.rename(archives.path(image).with_suffix(each.suffix))
    assert archives.find(image) is None and archives.checked(image) is None


def test_what_a_kill_left_is_swept_by_the_next_copy(archives: Archives) -> None:
    archives.folder.mkdir()
    (archives.folder / f".{IMAGE.hex}.part.1234.tmp").write_bytes(b"half")
    archives.write(IMAGE, Digest.of(CONFIGURATION), pieces(WHOLE))
    assert names(archives) == [".json", ".tar"]
