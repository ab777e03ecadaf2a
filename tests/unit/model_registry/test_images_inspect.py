"""What `homeport image inspect` tells of an image, with an engine played by this test."""

from __future__ import annotations

import io
import tarfile

import pytest

from model_registry.core.errors import NotFoundError
from model_registry.core.release import misfit
from model_registry.inspecting import ImagePart, inspect, largest, layer_table
from tests.fakes.docker_engine import FakeClient

SITE = "opt/homeport/lib/python3.11/site-packages"
JETSON = {"dev.homeport.row": "jp6", "dev.homeport.l4t": "36.4.0,36.4.3"}


def test_layers_are_told_by_size_and_by_what_made_them() -> None:
    history = [
        {"Size": 0, "CreatedBy": "CMD [x]"},
        {"Size": 5, "CreatedBy": "COPY app /opt/homeport/app # buildkit"},
        {"Size": 9, "CreatedBy": "/bin/sh -c #(nop) ADD file:1   in / "},
    ]
    assert layer_table(history) == (ImagePart(9, "ADD file:1 in /"), ImagePart(5, "COPY app /opt/homeport/app"))


def test_every_ten_megabytes_are_told_once_and_packages_are_not_taken_apart() -> None:
    files = [
        ("usr/lib/big.so", 30), (f"{SITE}/cv2/a.so", 40), (f"{SITE}/cv2/data/b.so", 30),
        *[(f"{SITE}/small{number}/x.py", 4) for number in range(5)], ("etc/x", 1),
    ]  # fmt: skip
    assert largest(files, 10) == (
        ImagePart(70, f"/{SITE}/cv2"), ImagePart(30, "/usr/lib/big.so"), ImagePart(20, f"/{SITE} (the rest)"),
    )  # fmt: skip


def test_an_image_is_read_without_being_started_and_nothing_is_left() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("usr/lib/big.so")
        member.size = 12_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    client = FakeClient(data.getvalue())
    read: list[int] = []
    image = inspect(client, "homeport/stack:1", read.append)
    assert image.items == (ImagePart(12_000_000, "/usr/lib/big.so"),)
    assert (image.id, image.architecture, image.labels) == ("sha256:1", "amd64", JETSON)
    assert sum(read) == len(data.getvalue())
    assert client.left == []


def test_an_unknown_image_names_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="has homeport/stack:1; `make image`"):
        inspect(FakeClient(b""), "homeport/stack:2")


@pytest.mark.parametrize(
    ("labels", "asked", "reason"),
    [
        (JETSON, {"arch": "arm64", "row": "jp6", "l4t": "36.4.3"}, None),
        (JETSON, {"arch": "amd64"}, "it was made for jp6/arm64, and amd64 is needed"),
        (
            JETSON,
            {"arch": "arm64", "row": "jp7"},
            "it was made for jp6/arm64, and jp7/arm64 is needed",
        ),
        (
            JETSON,
            {"arch": "arm64", "l4t": "36.4"},
            "it was made for L4T 36.4.0, 36.4.3, and L4T 36.4 is needed",
        ),
        ({"dev.homeport.row": "cpu", "dev.homeport.l4t": ""}, {"arch": "arm64"}, None),
        (
            {"dev.homeport.row": "cpu"},
            {"arch": "arm64", "l4t": "36.4.3"},
            "it was made for L4T none, and L4T 36.4.3 is needed",
        ),
        ({}, {"arch": "arm64"}, "it has no label dev.homeport.row, so it is no image of Homeport"),
    ],
)
def test_a_row_fits_exactly_or_the_reason_is_told(labels: dict[str, str], asked: dict[str, str], reason: str) -> None:
    found = misfit(labels, "arm64", **asked)
    assert (found and found.partition("; ")[0]) == reason
