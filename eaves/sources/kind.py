"""A kind of source: its settings and what runs it.

`kind:` in eaves.yaml names it. Any package may add kinds by entry points of the group `eaves.sources`: an entry point's
name is the kind's, and its object is a `SourceKind`. docs/06-sources.md shows one in ten lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eaves.sources.context import SourceContext

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind(Generic[S]):
    """A kind of source.

    Attributes:
        settings: Frozen dataclass whose fields are made with `eaves.config.setting`: what eaves.yaml may say of a
            source of this kind, beside what all sources have. It may have `faults()`, for rules across fields.
        run: Captures images until `context.stopping`. Whatever can go away and come back is waited for, with
            `context.wait`, and reported with `context.report`. An exception is a bug: it is logged once, and `run` is
            called again after a pause.
        runs_as: What may run it on a cluster, the usual one first. `claim`: a StatefulSet with its queue on a volume,
            beside the volume `claim`, whose root is the folder it reads. `node`: one on each edge node, that reads a
            folder of the node. `reader`: a ContainerSource without memory, for what can be read again. `service`: a
            StatefulSet with its queue on a volume, for what is reached over the network.
        remembers: How many event ids of the source must be remembered at once so that no image is sent twice: of those
            it may find again.
        addresses: `HOST:PORT` of what it connects to, `tls://HOST:PORT` with TLS, so that `eaves doctor` can try them
            from inside the cluster.
    """

    settings: type[S]
    run: Callable[[S, SourceContext], None]
    runs_as: tuple[str, ...] = ("service",)
    remembers: Callable[[S], int] = lambda _: 100_000
    addresses: Callable[[S], Iterable[str]] = lambda _: ()


AnyKind = SourceKind[Any]
