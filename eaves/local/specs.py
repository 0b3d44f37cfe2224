"""Spec of an app on the local platform, and its conversion to and from a JSON spec file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
"""Part of an app to fields for clusters that earlier versions wrote into local spec files and that are ignored now."""


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
        values: dict[str, Any] = _plain(asdict(self))
        return values


def parse_app(values: Mapping[str, Any], origin: str) -> LocalApp:
    """Parse a spec file's content.

    Raises:
        ConfigError: When there are faults; it holds all of them.
    """
    kept = {name: _drop_former(name, value) for name, value in values.items()}
    return build(LocalApp, SettingsLayer(origin=origin, values=kept))


def list_changes(before: LocalApp, after: LocalApp) -> list[str]:
    """Return the paths of the fields in which two apps differ, such as `function.scale.max` or `triggers`."""
    old, new = dict(_iter_fields(before.to_dict())), dict(_iter_fields(after.to_dict()))
    return [path for path in {**old, **new} if old.get(path) != new.get(path)]


def _iter_fields(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each field; a list is one value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _iter_fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _drop_former(name: str, value: Any) -> Any:
    """Return the content of a part of an app without the fields in `_FORMER`."""
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
