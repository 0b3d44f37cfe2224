"""An app as this machine is told it, to and from the plain data of a spec file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eaves.config import SettingsLayer, build
from eaves.platform import AppSpec, FunctionSpec

_FORMER = {
    "function": ("image",),
    "relay": ("secret",),
    "sources": ("agent", "through", "claim", "spool_size", "secret"),
    "mqtt": ("secret", "spool_size"),
}
"""What earlier versions wrote of a cluster into every spec file, by the part of the app that had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFunction(FunctionSpec):
    """A function on this machine.

    Attributes:
        artifact: Directory of the artifact.
    """

    artifact: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApp(AppSpec):
    """What one `eaves deploy` wants on this machine.

    Attributes:
        function: The function, with its artifact.
    """

    function: LocalFunction

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a file."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def parse_app(values: Mapping[str, Any], origin: str) -> LocalApp:
    """Read a spec file's content.

    Raises:
        ConfigError: With every fault.
    """
    kept = {name: _drop_former(name, value) for name, value in values.items()}
    return build(LocalApp, SettingsLayer(origin=origin, values=kept))


def _drop_former(name: str, value: Any) -> Any:
    """A part of an app without what a cluster was told of it."""
    if isinstance(value, list):
        return [_drop_former(name, one) for one in value]
    if not isinstance(value, Mapping) or name == "options":
        return value
    return {key: _drop_former(key, one) for key, one in value.items() if key not in _FORMER.get(name, ())}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
