"""A function as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.admin.report import LinkReport, SourceReport
from eaves.admin.summary import AgentStatus, LanePause


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatus:
    """One function as it is.

    Attributes:
        name: Of the function.
        state: `ready` (can answer at once), `idle` (at zero, starts at the first event), `starting`, `failed`,
            `stopped` (nothing runs it).
        replicas: Running now.
        reason: Why it failed, empty otherwise.
        artifact: Directory or reference served.
        artifact_digest: sha256 of its manifest, hex.
        queued: Events accepted and not yet answered.
        dead: Events given up on and kept for inspection.
        delivered: Events answered since the platform started.
        site: In its events' source.
        sources: Its sources, each with its state.
        traffic: Where there are several revisions at once: each that gets requests, with its share.
        agents: What runs its sources, each with its queue.
        pauses: Its triggers' queues that wait.
    """

    name: str
    state: str
    replicas: int = 0
    reason: str = ""
    artifact: str = ""
    artifact_digest: str = ""
    queued: int = 0
    dead: int = 0
    delivered: int = 0
    site: str = ""
    sources: tuple[str, ...] = ()
    traffic: tuple[str, ...] = ()
    agents: tuple[AgentStatus, ...] = ()
    pauses: tuple[LanePause, ...] = ()


def parse_status(values: Mapping[str, Any]) -> FunctionStatus:
    """Read a status that was plain data, such as `dataclasses.asdict` makes it."""
    agents = tuple(
        AgentStatus(
            **{
                **agent,
                "pauses": tuple(LanePause(**pause) for pause in agent["pauses"]),
                "sources": tuple(SourceReport(**source) for source in agent["sources"]),
                "link": None if agent.get("link") is None else LinkReport(**agent["link"]),
            }
        )
        for agent in values.get("agents", ())
    )
    pauses = tuple(LanePause(**pause) for pause in values.get("pauses", ()))
    return FunctionStatus(**{**values, "agents": agents, "pauses": pauses})
