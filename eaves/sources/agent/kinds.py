"""Kinds of sources by name: Eaves' own, and those that installed packages add by entry points.

Only the module of the requested kind is imported, so an agent loads no library that it doesn't use. Eaves' own kinds
are listed here for three reasons: a checkout on the path has no metadata, searching the metadata of all installed
packages takes time at each start, and no package can replace one of these kinds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from eaves.errors import NotFoundError
from eaves.sources.kind import AnyKind, SourceKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "eaves.sources"
"""Entry point group in which packages register kinds of sources. The name of an entry point is that of the kind."""
OWN: Mapping[str, str] = {
    "camera": "eaves.sources.camera.kind:KIND",
    "folder": "eaves.sources.folder.kind:KIND",
    "http": "eaves.sources.http.kind:KIND",
    "mqtt": "eaves.sources.mqtt.kind:KIND",
    "replay": "eaves.sources.replay:KIND",
    "s3": "eaves.sources.s3.kind:KIND",
}
"""Name of each of Eaves' own kinds of sources to its module and attribute."""


def list_kinds() -> list[str]:
    """Return the names of all installed kinds of sources in alphabetical order."""
    return sorted({*OWN, *_find_added()})


def load_kind(name: str) -> AnyKind:
    """Load a kind of source by its name.

    Raises:
        NotFoundError: When there is no such kind, or when the package that adds the kind can't be imported.
    """
    if name in OWN:
        module, _, attribute = OWN[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        added = _find_added()
        if name not in added:
            raise NotFoundError(f"there is no source kind {name!r}; {_suggest(name)}")
        try:
            found = added[name].load()
        except Exception as error:  # a third-party package may raise anything
            raise NotFoundError(
                f"the source kind {name} can't be loaded from {added[name].value}: {type(error).__name__}: {error}"[
                    :512
                ]
            ) from error
    if not isinstance(found, SourceKind):
        raise NotFoundError(f"the source kind {name} is a {type(found).__name__}, not an eaves.sources.kind.SourceKind")
    return found


def _suggest(name: str) -> str:
    kinds = list_kinds()
    near = difflib.get_close_matches(name, kinds, n=1)
    return f"did you mean {near[0]}?" if near else f"available kinds: {', '.join(kinds)}"


def _find_added() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}
