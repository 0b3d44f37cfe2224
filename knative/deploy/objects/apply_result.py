"""The outcome of applying one object of an app."""

from __future__ import annotations

from dataclasses import dataclass

CREATED, CHANGED, UNCHANGED, REMOVED, ADOPTED = "created", "changed", "unchanged", "removed", "adopted"
LEFT = "left"
"""Outcome of a removal when the object in the inventory is gone and another object has its name, so nothing is
deleted."""
UNJUDGED = "unjudged"
"""Outcome in a dry run when the object's namespace doesn't exist yet, so the API server can't validate the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """The outcome of applying one object.

    Attributes:
        kind: Kind of the object.
        name: Name of the object.
        outcome: `created`, `changed`, `unchanged`, `adopted`, `removed`, `left` or `unjudged`.
    """

    kind: str
    name: str
    outcome: str
