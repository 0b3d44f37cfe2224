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
            edge node, which reads a folder of the node. `reader`: a ContainerSource without memory, for images that can
            be read again. `service`: a StatefulSet with its queue on a volume, for sources that are reached over the
            network.
        remembers: Returns how many event ids must be remembered at once so that no image that the source may find again
            is sent twice.
        addresses: Returns the `HOST:PORT` of each server that the source connects to, `tls://HOST:PORT` with TLS, so
            that `eaves doctor` can test the connections from inside the cluster.
    """

    settings: type[S]
    run: Callable[[S, SourceContext], None]
    runs_as: tuple[str, ...] = ("service",)
    remembers: Callable[[S], int] = lambda _: 100_000
    addresses: Callable[[S], Iterable[str]] = lambda _: ()


AnyKind = SourceKind[Any]
