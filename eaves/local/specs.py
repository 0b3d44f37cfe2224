"""Spec of an app on the local platform, and its conversion to and from a JSON spec file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.platform import AppSpec, FunctionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFunction(FunctionSpec):
    """Spec of a function on this machine.

    Attributes:
        artifact: Directory of the artifact.
    """

    artifact: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApp(AppSpec):
    """Spec of an app that one `eaves deploy` deploys on this machine.

    Attributes:
        function: Spec of the function, with its artifact.
    """

    function: LocalFunction

    def to_dict(self) -> dict[str, Any]:
        """Return the app as plain data for a file."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return values


def parse_app(values: Mapping[str, Any], origin: str) -> LocalApp:
    """Parse a spec file's content.

    Raises:
        ConfigError: When there are faults; it holds all of them.
    """
    return build(LocalApp, SettingsLayer(origin=origin, values=values))
