"""Reading of the best prediction in a prediction event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find_best(data: Any, extensions: Mapping[str, str]) -> dict[str, Any]:
    """Return `label` and `score` of an event's first prediction; each is None when the event lacks it.

    Events of custom handlers may have neither.
    """
    scored = data.get("predictions") if isinstance(data, dict) else None
    best = scored[0] if isinstance(scored, list) and scored and isinstance(scored[0], dict) else {}
    return {"label": best.get("label", extensions.get("label")), "score": best.get("score")}
