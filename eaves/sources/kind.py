"""Kinds of sources: the settings of a kind and the function that runs it.

The setting `kind` of a source in eaves.yaml names its kind. Any package may add kinds by entry points of the group
`eaves.sources`; the name of the entry point is that of the kind, and its object is a `SourceKind`. docs/06-sources.md
shows such a kind in ten lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eaves.sources.context import SourceContext

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
            edge node, which reads a folder, a file or a device of the node. `reader`: a ContainerSource without memory,
            for images that can be read again. `service`: a StatefulSet with its queue on a volume, for sources that are
            reached over the network.
        remembers: Returns how many event ids must be remembered at once so that no image that the source may find again
            is sent twice.
        addresses: Returns the `HOST:PORT` of each server that the source connects to, `tls://HOST:PORT` with TLS, so
            that `eaves doctor` can test the connections from inside the cluster.
        path_setting: Name of the setting with the path that the source reads as `claim`, `node` or `reader`; rendering
            replaces the path by the one in the pod.
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
