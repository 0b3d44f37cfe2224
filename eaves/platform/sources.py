"""What turns images into events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform.objects import find_object_fault
from eaves.platform.quantities import QUANTITY_PATTERN


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """One source of images.

    Attributes:
        name: Unique in the app; the last part of its events' source.
        kind: Which kind of source.
        agent: On a cluster: what runs it.
        through: On a cluster: where its images go first.
        claim: On a cluster: the volume that holds the folder.
        spool_size: On a cluster: room for its durable queue.
        secret: On a cluster: the Secret with its credentials.
        options: What its agent is told beside: the settings that every source has, and those of its kind. Whoever
            starts the agent checks them.
    """

    name: str = setting("", "Name of the source, unique here.")
    kind: str = setting(
        "folder", "Which kind of source: `folder`, `mqtt`, `http`, `replay`, or one that an installed package adds."
    )
    agent: str = setting(
        "",
        "On a cluster: `claim`, one agent that watches the volume `claim` and keeps its spool on a volume of its own; "
        "`node`, one on each edge node, that watches the folder `path` of the node (needs a privileged namespace of "
        "its own); `reader`, like `claim` but without memory: it sends everything again after each restart, under the "
        "same ids; `service`, one agent without a folder that keeps its spool on a volume of its own, for what is "
        "reached over the network. Not given: what fits its kind.",
        choices=("", "claim", "node", "reader", "service"),
    )
    through: str = setting(
        "function",
        "On a cluster: `function`, the agent asks the function itself, keeps its predictions and passes them on to "
        "the Broker: nothing is lost with a Broker that keeps events in memory; `broker`, images go through the "
        "Broker, where Triggers of others find them too.",
        choices=("function", "broker"),
    )
    claim: str = setting("", "On a cluster: the PersistentVolumeClaim whose root is the folder to watch.")
    spool_size: str = setting(
        "2Gi",
        "On a cluster: size of the volume for images while the broker doesn't answer. Somewhat less than half of it is "
        "for images that wait, a tenth for dead letters, the rest for the files' own needs.",
    )
    secret: str = setting("", "On a cluster: the Secret with its credentials, mounted in place of `credentials`.")
    options: dict[str, Any] = setting(
        dict, "The settings that every source has, and those of its kind; they stand beside the others.", collects=True
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What its agent is told, as one of EAVES_SOURCES."""
        return {"name": self.name, "kind": self.kind, **self.options}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if not NAME_PATTERN.fullmatch(self.name):
            yield "name", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.name!r})"
        if not QUANTITY_PATTERN.fullmatch(self.spool_size):
            yield "spool_size", f"must be a quantity such as 2Gi (got {self.spool_size!r})"
        for setting_name, object_name in (("claim", self.claim), ("secret", self.secret)):
            if fault := find_object_fault(object_name):
                yield setting_name, fault


OF_PLATFORMS = tuple(one.name for one in fields(SourceSpec) if one.name != "options")
"""What eaves.yaml says of a source beside its options."""
