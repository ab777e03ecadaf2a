"""An engine with one image, as docker-py shows it: `data` is what a container of it exports."""

from __future__ import annotations

from types import SimpleNamespace

LABELS = {"dev.homeport.row": "jp6", "dev.homeport.l4t": "36.4.0,36.4.3"}


class FakeClient:
    """`left` holds the containers that were created and not removed."""

    def __init__(self, data: bytes) -> None:
        self.left: list[object] = []
        image = SimpleNamespace(
            id="sha256:1",
            tags=["homeport/stack:1"],
            labels=LABELS,
            attrs={"Architecture": "amd64", "Size": len(data)},
            history=lambda: [{"Size": len(data), "CreatedBy": "ADD rootfs.tar / # buildkit"}],
        )
        pieces = [data[start : start + 65_536] for start in range(0, len(data), 65_536)]
        self.images = SimpleNamespace(list=lambda: [image])
        container = SimpleNamespace(export=lambda: iter(pieces), remove=lambda v: self.left.remove("container"))

        def create(image: object, command: list[str]) -> SimpleNamespace:
            self.left.append("container")
            return container

        self.containers = SimpleNamespace(create=create)
