"""What a prediction event says, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def find_best(data: Any, extensions: Mapping[str, str]) -> dict[str, Any]:
    """What a reply says first, `label` and `score`, each None where it says none: a handler writes what it likes."""
    scored = data.get("predictions") if isinstance(data, dict) else None
    best = scored[0] if isinstance(scored, list) and scored and isinstance(scored[0], dict) else {}
    return {"label": best.get("label", extensions.get("label")), "score": best.get("score")}
