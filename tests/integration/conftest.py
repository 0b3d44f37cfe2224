"""What integration tests share."""

from __future__ import annotations

from tests.artifacts import tiny_artifact, tiny_run

__all__ = ["tiny_artifact", "tiny_run"]
