"""What integration tests share."""

from __future__ import annotations

from tests.artifacts import tiny_artifact, tiny_graph, tiny_int8, tiny_run

__all__ = ["tiny_artifact", "tiny_graph", "tiny_int8", "tiny_run"]
