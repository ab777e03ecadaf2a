"""One registry for all robots of these tests: to publish takes as long as to deploy."""

from __future__ import annotations

import pytest

from tests.testbed.registry import Published, publish


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("registry")
    return publish(folder, folder / "keys")
