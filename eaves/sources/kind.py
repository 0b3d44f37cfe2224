"""Kinds of sources: the settings of a kind, the function that runs it, and what commands and platforms ask it.

The setting `kind` of a source in eaves.yaml names its kind. Any package may add kinds by entry points of the group
`eaves.sources`; the name of the entry point is that of the kind, and its object is a `SourceKind`. docs/sources.md
shows such a kind in ten lines. The kinds of `eaves.plugins` are registered in the same way.

Only the module of the requested kind is imported, so an agent loads no library that it doesn't use. The kinds `folder`
and `http` need no entry point, so their agents search no metadata at their start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from eaves.errors import NotFoundError
from eaves.plugin_registry import PluginRegistry
from eaves.sources.context import SourceContext

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """A step of `eaves sources try` that failed.

    Attributes:
        name: `login`, `path`, `TLS`, `connection`, `video`, `format` or `image`, found from the reason that the source
            reported; `empty` when it reported none and no image came.
        message: What failed, without credentials.
        hint: What to do; empty for the usual remedy.
        credentials: Folder of the source's credentials; empty without one.
        facts: What the source found in its input (`SourceContext.describe`).
        timeout_s: Time limit of the command, seconds.
    """

    name: str
    message: str
    hint: str = ""
    credentials: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 0.0


def explain_empty(failed: FailedStep, place: str) -> FailedStep:
    """Say that a place such as `folder /images` has no image, when none came."""
    if failed.name != "empty":
        return failed
    hint = "copy a .jpg, .png, .webp, .bmp, .tif or .gif file into it"
    return replace(failed, message=f"the {place} has no image", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind(Generic[S]):
    """A kind of source, such as `folder` or `mqtt`: its settings, and the function that captures images.

    Only `settings` and `run` are needed; the other members are for commands and for clusters.

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
        place_setting: Name of the setting with the address or path of what the source reads; rendering replaces the
            path that a `claim` or `node` reads by the one in the pod.
        is_file: Whether a path is that of a file or device and not of a folder. A kind without `claim` then runs as
            `node`, unless eaves.yaml names another agent.
        extra: Extra of Eaves with the library that the kind needs, such as `camera`; on a cluster it selects the
            container image of the agent. Empty when a plain agent suffices.
        child_bytes: Returns the memory that the processes that the source starts may use, bytes.
        proxied: Whether the source uses the HTTP proxies of the process.
        schemes: Schemes of the addresses that `parse_place` knows.
        parse_place: Returns the settings for an address or a path on the command line; None for one of another kind.
        guest: Returns the settings to replace so that a command can run the source while an agent runs it, too. It gets
            the settings as in eaves.yaml, and a name that no other client has.
        check: Yields problems of this machine, each with its fix, for `eaves doctor`.
        idle_s: Returns the time without an image and without a reason after which `eaves sources try` ends, seconds.
        persistent_s: Time for which a reason must last until it ends `eaves sources try`, seconds.
        explain: Returns a failed step of `eaves sources try` with a better message or remedy.
    """

    settings: type[S]
    run: Callable[[S, SourceContext], None]
    runs_as: tuple[str, ...] = ("service",)
    remembers: Callable[[S], int] = lambda _: 100_000
    addresses: Callable[[S], Iterable[str]] = lambda _: ()
    place_setting: str = "path"
    is_file: Callable[[str], bool] = lambda _: False
    extra: str = ""
    child_bytes: Callable[[S], int] = lambda _: 0
    proxied: bool = False
    schemes: tuple[str, ...] = ()
    parse_place: Callable[[str], Mapping[str, Any] | None] = lambda _: None
    guest: Callable[[Mapping[str, Any], str], Mapping[str, Any]] = lambda *_: {}
    check: Callable[[S], Iterable[tuple[str, str]]] = lambda _: ()
    idle_s: Callable[[S], float] = lambda _: float("inf")
    persistent_s: float = 0.0
    explain: Callable[[S, FailedStep], FailedStep] = lambda _, failed: failed


AnyKind = SourceKind[Any]

KINDS = PluginRegistry(
    "eaves.sources",
    SourceKind,
    what="source kind",
    own={"folder": "eaves.sources.folder.source:KIND", "http": "eaves.sources.http.kind:KIND"},
)
"""Every kind of source, by its name."""


def load_kind(name: str) -> AnyKind:
    """Load a kind of source by its name; NotFoundError when there is none, or its package can't be imported."""
    found: AnyKind = KINDS.load(name)
    return found


def iter_kinds() -> Iterator[tuple[str, AnyKind]]:
    """Yield name and kind of every kind of source that can be imported."""
    for name in KINDS.names():
        with suppress(NotFoundError):
            yield name, load_kind(name)


def parse_place(text: str) -> dict[str, Any] | None:
    """Return the settings of a source for its address or path; None for a text that no kind knows."""
    for name, kind in iter_kinds():
        if (found := kind.parse_place(text)) is not None:
            return {"kind": name, **found}
    return None
