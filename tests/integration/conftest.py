"""What integration tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts import tiny_artifact, tiny_graph, tiny_int8, tiny_run
from tests.function import image, shared_function, start

__all__ = ["image", "shared_function", "start", "tiny_artifact", "tiny_graph", "tiny_int8", "tiny_run"]
__all__ = ["tiny_artifact", "tiny_graph", "tiny_int8", "tiny_run"]


@pytest.fixture(scope="session")
def oci_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XDG_CACHE_HOME that keeps the runtime's layers, which take long to make, for all tests."""
    return tmp_path_factory.mktemp("cache")
