"""What became of an object that was applied."""

from __future__ import annotations

from dataclasses import dataclass

CREATED, CHANGED, UNCHANGED, REMOVED, ADOPTED = "created", "changed", "unchanged", "removed", "adopted"
LEFT = "left"
"""What an inventory lists under that name is gone, and the object that is there now is somebody else's."""
UNJUDGED = "unjudged"
"""In a dry run: it goes into a namespace that isn't there yet, so the server can't say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What became of one object.

    Attributes:
        kind: Of it.
        name: Of it.
        outcome: `created`, `changed`, `unchanged`, `adopted`, `removed`, `left` or `unjudged`.
    """

    kind: str
    name: str
    outcome: str
