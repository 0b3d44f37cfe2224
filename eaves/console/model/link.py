"""The link to the cloud: whether it is up, and what waits to be forwarded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from eaves.admin.report import LinkReport
from eaves.console.model.words import count_noun, describe_duration, describe_size
from eaves.platform import FunctionStatus

LONG_S = 15.0
"""Age below which a waiting event isn't worth mentioning, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudLink:
    """The link of one app to the cloud.

    Attributes:
        key: Name of the link in the page: the name of its app.
        title: Name of the link for people.
        state: `up`, `down`, `starting` or `unknown`.
        word: The state in words.
        since: Beginning of the state, Unix seconds; None when it isn't known.
        reason: Why nothing is forwarded; empty while events are forwarded.
        backlog: What waits, in words.
        oldest_at: When the oldest waiting event was put into the queue, Unix seconds; None when none waits for long.
        drain: Estimated time until nothing waits, in words; empty when it isn't known.
    """

    key: str
    title: str
    state: str
    word: str
    since: float | None = None
    reason: str = ""
    backlog: str = ""
    oldest_at: float | None = None
    drain: str = ""


def list_links(functions: Sequence[FunctionStatus], now: float) -> list[CloudLink]:
    """Return the link of each app that has a relay; empty when no link to a cloud is set up.

    Args:
        functions: Status of the functions.
        now: Current time, Unix seconds.
    """
    return [
        _build_link(function.name, agent.link, now) if agent.link else _build_unknown(function.name, agent.reason)
        for function in functions
        for agent in function.agents
        if agent.link is not None or agent.name.endswith(".relay")
    ]


def _build_link(app: str, link: LinkReport, now: float) -> CloudLink:
    state = "up" if link.up else "starting" if link.state in ("", "starting") else "down"
    word = {"up": "Connected to the cloud", "starting": "Connecting to the cloud"}.get(state, "Not connected")
    if link.state == "refused":
        word = "The cloud refuses this site"
    since = link.since if link.since_age_s is None else round(now - link.since_age_s)
    waiting = f"{count_noun(link.backlog_events, 'event')} waiting ({describe_size(link.backlog_bytes)})"
    oldest_age_s, drain = link.oldest_age_s or 0.0, ""
    if link.backlog_events and link.drain_s is not None and link.up:
        drain = f"sent in about {describe_duration(max(1.0, link.drain_s))}"
    return CloudLink(
        key=app,
        title=urlsplit(link.to).hostname or link.to,
        state=state,
        word=word,
        since=since,
        reason="" if link.up else link.reason,
        backlog=waiting if link.backlog_events else "nothing waits",
        oldest_at=round(now - oldest_age_s) if oldest_age_s >= LONG_S else None,
        drain=drain,
    )


def _build_unknown(app: str, reason: str) -> CloudLink:
    return CloudLink(key=app, title=app, state="unknown", word="The state of the link is not known", reason=reason)
