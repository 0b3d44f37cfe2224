"""The tile of one source: its newest image, what was seen, and whether the source is alive.

The states of a tile, and what a person does about them:

ok        images come; nothing to do.
quiet     the source works, and no image came for a while, such as a folder that nobody writes to; nothing to do.
asleep    as quiet, and the function has no replica; it starts with the next image.
starting  the source or its function was just started.
silent    the camera or the folder can't be reached, or the source has sent no image for `silent_after_s`.
failing   the source itself, its queue or its function fails; the reason says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eaves.admin import QueueReport, SourceReport
from eaves.console.pages.event_row import EventRow, name_source
from eaves.console.words import to_sentence
from eaves.events import source_uri
from eaves.platform import FunctionStatus

QUIET_AFTER_S = 120.0
"""Time without an image after which a source is called quiet, seconds."""
FUTURE_S = 60.0
"""Time by which an image may come from the future, seconds, such as from a machine whose clock is ahead. A later time
was taken before the clock was set back, so it says nothing about the age of the image."""
WORDS = {
    "ok": "Sending",
    "quiet": "Quiet",
    "asleep": "Asleep",
    "starting": "Starting",
    "silent": "Silent",
    "failing": "Failing",
}
"""State of a tile to its word."""
_FAULTS = {
    "paused": "The queue is full",
    "hung": "The source does not respond",
    "stopped": "The source does not run",
    "failed": "The source failed and is started again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTile:
    """The tile of one source.

    Attributes:
        key: CloudEvents source of its events, which names the tile in the page.
        name: Name of the source.
        function: Name of the function that predicts its images; empty for a source that another program runs.
        state: State, see this module's docstring.
        since: Beginning of the state, Unix seconds; None when it isn't known.
        detail: Reason of the state, or what happens next; empty when the state says it all.
        last: Newest image, with its prediction if there is one; None before the first.
    """

    key: str
    name: str
    function: str = ""
    state: str = "ok"
    since: float | None = None
    detail: str = ""
    last: EventRow | None = None

    @property
    def word(self) -> str:
        """The state in one word."""
        return WORDS[self.state]

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to do something."""
        return self.state in ("silent", "failing")


def build_tile(
    report: SourceReport,
    agent: QueueReport,
    function: FunctionStatus,
    last: EventRow | None,
    *,
    now: float,
    silent_after_s: float,
) -> SourceTile:
    """Return the tile of a source that an agent runs.

    Args:
        report: Report of the source.
        agent: Status of its agent.
        function: Status of the function that predicts its images.
        last: Its newest image.
        now: Current time, Unix seconds.
        silent_after_s: Time without an image after which a source counts as silent, seconds; 0: never.
    """
    uri = source_uri(function.site, report.name)
    tile = SourceTile(key=uri, name=report.name, function=function.name, last=last)
    state, detail, since = (
        _judge_report(report, agent, now)
        or _judge_function(function)
        or _judge_age(tile, report, function, now=now, silent_after_s=silent_after_s)
    )
    return replace(tile, state=state, detail=detail, since=since)


def build_foreign_tile(source: str, last: EventRow, *, now: float) -> SourceTile:
    """Return the tile of a source that isn't run by Eaves; it is never called silent, since nothing is known of it."""
    state = "ok" if -FUTURE_S <= now - last.at <= QUIET_AFTER_S else "quiet"
    return SourceTile(key=source, name=name_source(source), state=state, last=last)


_Judgement = tuple[str, str, float | None]
"""State, detail and beginning."""


def _judge_report(report: SourceReport, agent: QueueReport, now: float) -> _Judgement | None:
    """Return what the source itself or its agent reports; None when it works."""
    reason = report.reason or agent.reason
    since = None if report.reason_age_s is None else round(now - report.reason_age_s)
    if report.is_starting:
        return "starting", "The source is being started.", None
    if report.state == "waiting":
        return "silent", to_sentence(reason), since
    if report.state == "finished":
        return "quiet", to_sentence(reason) or "All images of the recording were played.", None
    if report.is_ready:
        return None
    unknown = f"The agent is {report.state}" if report.state else "The state is not known"
    word = _FAULTS.get(report.state, unknown)
    return "failing", f"{word}: {reason}" if reason else f"{word}.", since


def _judge_function(function: FunctionStatus) -> _Judgement | None:
    """Return why the function can't predict now; None when it can."""
    if function.state == "failed":
        reason = f": {function.reason}" if function.reason else "."
        return "failing", f"The function {function.name} fails{reason}", function.since
    if function.state == "stopped":
        return "failing", function.reason or f"Nothing runs the function {function.name}.", function.since
    return None


def _judge_age(
    tile: SourceTile,
    report: SourceReport,
    function: FunctionStatus,
    *,
    now: float,
    silent_after_s: float,
) -> _Judgement:
    times = (report.last_captured_at, tile.last.at if tile.last else None)
    newest = max((at for at in times if at is not None and at <= now + FUTURE_S), default=None)
    age_s = None if newest is None else now - newest
    if age_s is not None and 0 < silent_after_s < age_s:
        return "silent", "No image has come since then.", newest
    if age_s is not None and age_s <= QUIET_AFTER_S:
        return "ok", "", None
    if function.state == "starting":
        return "starting", f"The function {function.name} is being started.", None
    if function.state == "idle":
        return "asleep", "Starts with the next image.", None
    return "quiet", "", newest
