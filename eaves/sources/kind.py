"""Kinds of sources: the settings of a kind and the function that runs it.

The setting `kind` of a source in eaves.yaml names its kind. Any package may add kinds by entry points of the group
`eaves.sources`; the name of the entry point is that of the kind, and its object is a `SourceKind`. docs/sources.md
shows such a kind in ten lines.

Only the module of the requested kind is imported, so an agent loads no library that it doesn't use. Eaves' own kinds
are listed here for three reasons: a checkout on the path has no metadata, searching the metadata of all installed
packages takes time at each start, and no package can replace one of these kinds.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eaves.errors import NotFoundError
from eaves.sources.context import SourceContext

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind(Generic[S]):
    """A kind of source, such as `folder` or `mqtt`: its settings, and the function that captures images.

    Attributes:
        settings: Frozen dataclass with fields made by `eaves.config.setting`: the settings of this kind in eaves.yaml,
            in addition to those of every source. It may have `faults()`, for rules that involve several fields.
        run: Captures images until `context.stopping`. It waits with `context.wait` for anything that may be missing for
            a while, and reports that with `context.report`. An exception is a bug: it is logged once, and `run` is
            called again after a pause.
        runs_as: Workloads that may run the source on a cluster, the usual one first. `claim`: a StatefulSet with its
            queue on a volume, beside the volume `claim`, whose root is the folder that it reads. `node`: one on each
            edge node, which reads a folder, a file or a device of the node. `service`: a StatefulSet with
            its queue on a volume, for sources that are reached over the network.
        remembers: Returns how many event ids must be remembered at once so that no image that the source may find again
            is sent twice.
        addresses: Returns the `HOST:PORT` of each server that the source connects to, `tls://HOST:PORT` with TLS, so
            that `eaves doctor` can test the connections from inside the cluster.
        path_setting: Name of the setting with the path that the source reads as `claim` or `node`; rendering replaces
            the path by the one in the pod.
        is_file: Whether a value of `path_setting` is the path of a file or device, which only an agent on its node can
            read. The kind then runs as `node`, unless eaves.yaml names another agent.
        extra: Extra of Eaves with the library that the kind needs, such as `camera`; on a cluster it selects the
            container image of the agent. Empty when a plain agent suffices.
        child_bytes: Returns the memory that the processes that the source starts may use, bytes.
        refers: Returns the beginning of the URLs of the source's frames when they stay in an object store
            (`Frame.dataref`). Options that need an image's pixels can't be applied to them, and the function must be
            allowed to fetch from there. Empty when frames have data.
    """

    settings: type[S]
    run: Callable[[S, SourceContext], None]
    runs_as: tuple[str, ...] = ("service",)
    remembers: Callable[[S], int] = lambda _: 100_000
    addresses: Callable[[S], Iterable[str]] = lambda _: ()
    path_setting: str = "path"
    is_file: Callable[[str], bool] = lambda _: False
    extra: str = ""
    child_bytes: Callable[[S], int] = lambda _: 0
    refers: Callable[[S], str] = lambda _: ""


AnyKind = SourceKind[Any]

GROUP = "eaves.sources"
"""Entry point group in which packages register kinds of sources. The name of an entry point is that of the kind."""
OWN: Mapping[str, str] = {
    "camera": "eaves.sources.camera.kind:KIND",
    "folder": "eaves.sources.folder.source:KIND",
    "http": "eaves.sources.http.kind:KIND",
    "mqtt": "eaves.sources.mqtt.source:KIND",
    "replay": "eaves.sources.replay:KIND",
    "s3": "eaves.sources.s3:KIND",
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
