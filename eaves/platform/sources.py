"""The spec of a source, which turns images into events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Spec of one source of images.

    Attributes:
        name: Name that is unique in the app; the last part of its events' source.
        kind: Kind of the source.
        options: Further settings for the agent: those that every source has, and those of the kind. The process that
            starts the agent checks them.
    """

    name: str = setting("", "Name of the source, unique within the app.")
    kind: str = setting(
        "folder",
        "Kind of the source: `folder`, `camera`, `mqtt`, `http`, `replay`, `s3`, or a kind that an installed package "
        "adds.",
    )
    options: dict[str, Any] = setting(
        dict,
        "Settings that every source has, and the settings of its kind; in eaves.yaml "
        "they stand directly under the source.",
        collects=True,
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The source's settings, one item of the agent's EAVES_SOURCES."""
        return {"name": self.name, "kind": self.kind, **self.options}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if not NAME_PATTERN.fullmatch(self.name):
            yield "name", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.name!r})"
