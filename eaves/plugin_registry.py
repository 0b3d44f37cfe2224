"""Plug-ins: objects that packages add to Eaves by entry points of a group, such as kinds of sources.

Source: packaging.python.org, Entry points specification. Only the module of the requested plug-in is imported.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eaves.errors import NotFoundError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OWN = "eaves."
"""Beginning of the modules of Eaves' own plug-ins, which no other package can replace."""


class PluginRegistry:
    """The plug-ins of one group.

    Args:
        group: Group of the entry points.
        type_: Type of the plug-ins, or the class that plug-ins which are classes derive from.
        what: What they are, for messages.
        own: Module and attribute of those that need no entry point, by name. Metadata isn't searched for them, which
            takes time at each start.
    """

    def __init__(self, group: str, type_: type, *, what: str, own: Mapping[str, str]) -> None:
        self._group, self._type, self._what, self._own = group, type_, what, own

    def names(self) -> list[str]:
        """Return the names of all installed plug-ins in alphabetical order."""
        return sorted({*self._own, *self._added})

    def load(self, name: str) -> Any:
        """Load a plug-in by its name.

        Raises:
            NotFoundError: When there is no such plug-in, or when its package can't be imported.
        """
        if name in self._own:
            module, _, attribute = self._own[name].partition(":")
            return getattr(import_module(module), attribute)
        if name not in self._added:
            raise NotFoundError(f"there is no {self._what} {name!r}; {self._suggest(name)}")
        point = self._added[name]
        try:
            found = point.load()
        except Exception as error:  # a third-party package may raise anything
            why = f"{type(error).__name__}: {error}"
            message = f"the {self._what} {name} can't be loaded from {point.value}: {why}"
            raise NotFoundError(message[:512]) from error
        is_valid = issubclass(found, self._type) if isinstance(found, type) else isinstance(found, self._type)
        if not is_valid:
            wanted = f"{self._type.__module__}.{self._type.__name__}"
            raise NotFoundError(f"the {self._what} {name} is a {type(found).__name__}, not an {wanted}")
        return found

    def _suggest(self, name: str) -> str:
        if not any(point.value.startswith(OWN) for point in self._added.values()):
            return "Eaves is on the path and not installed, so its plug-ins are unknown: pip install -e ."
        near = difflib.get_close_matches(name, self.names(), n=1)
        return f"did you mean {near[0]}?" if near else f"available kinds: {', '.join(self.names())}"

    @property
    def _added(self) -> Mapping[str, EntryPoint]:
        return _find_entry_points(self._group, tuple(sys.path))


@cache
def _find_entry_points(group: str, _: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group in the metadata of all packages on `sys.path`, by name."""
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=group), key=lambda point: point.value.startswith(OWN))
    return {point.name: point for point in found}
