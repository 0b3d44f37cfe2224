"""What integration tests share."""

from __future__ import annotations

from tests.artifacts import tiny_artifact, tiny_graph, tiny_int8, tiny_run
from tests.function import image, shared_function, start

__all__ = ["image", "shared_function", "start", "tiny_artifact", "tiny_graph", "tiny_int8", "tiny_run"]
