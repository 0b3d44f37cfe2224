"""The tile of one source: its newest image, what was seen, and whether the source is alive.

The states of a tile, and what a person does about them:

ok        images come; nothing to do.
quiet     the source works, and no image came for a while, such as a folder that nobody writes to; nothing to do.
asleep    as quiet, and the function has no replica; it starts with the next image.
starting  the source or its function was just started.
silent    the camera or the folder can't be reached, or a source whose images came regularly sends none any more.
failing   the source itself, its queue or its function fails; the reason says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eaves.admin import SourceReport
from eaves.admin.summary import AgentStatus
from eaves.console.model.event_row import build_picture_key, name_source
from eaves.console.model.prediction import PREDICTED, parse_prediction
from eaves.console.model.words import to_sentence
from eaves.events import IMAGE_REJECTED, source_uri
from eaves.history import Record
from eaves.platform import FunctionStatus

NOT_STARTED = "not started"
"""Reason in the report of a source that has just been created and waits for its first turn."""
QUIET_AFTER_S = 120.0
"""Time without an image after which a source without a regular rhythm is called quiet, seconds."""
FUTURE_S = 60.0
"""Time by which an image may come from the future, seconds, such as from a machine whose clock is ahead. A later time
was taken before the clock was set back, so it says nothing about the age of the image."""
ATTENTION = ("silent", "failing")
"""States that need a person."""
WORDS = {
    "ok": "Sending",
    "quiet": "Quiet",
    "asleep": "Asleep",
    "starting": "Starting",
    "silent": "Silent",
    "failing": "Failing",
}
"""State of a tile to its word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastImage:
    """The newest image of a source.

    Attributes:
        seq: Number of the record that the page of the image belongs to.
        at: Time of arrival, Unix seconds.
        picture: Key of the image in addresses.
        label: Label of its prediction, or what is known instead, such as `not predicted yet`.
        is_label: Whether `label` is a label of the model.
        score: Score of the label, 0 to 1; None when it isn't known.
        confidence: `high`, `low` or empty.
        usual_s: Usual time between two images of the source, seconds; None when they come without a rhythm.
    """

    seq: int
    at: float
    picture: str = ""
    label: str
    is_label: bool = False
    score: float | None = None
    confidence: str = ""
    usual_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTile:
    """The tile of one source. It has no ages, so that it is equal to the tile of a second ago when nothing happened.

    Attributes:
        key: Name of the tile in the page; unique.
        name: Name of the source.
        source: CloudEvents source of its events.
        function: Name of the function that predicts its images; empty for a source that sends by itself.
        state: State, see this module's docstring.
        since: Beginning of the state, Unix seconds; None when it isn't known.
        detail: Reason of the state, or what happens next; empty when the state says it all.
        last: Newest image; None before the first.
        by_itself: Whether another program sends the images, not an agent of Eaves.
    """

    key: str
    name: str
    source: str
    function: str = ""
    state: str = "ok"
    since: float | None = None
    detail: str = ""
    last: LastImage | None = None
    by_itself: bool = False

    @property
    def word(self) -> str:
        """The state in one word."""
        return WORDS[self.state]

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to do something."""
        return self.state in ATTENTION


def build_last(captured: Record | None, predicted: Record | None, usual_s: float | None = None) -> LastImage | None:
    """Return the newest image of a source.

    Args:
        captured: Newest image event of the source.
        predicted: Newest answer to one of its images.
        usual_s: Usual time between two of its images, seconds.
    """
    if predicted is not None and (captured is None or predicted.seq > captured.seq):
        return _describe_answer(predicted, usual_s)
    if captured is None:
        return None
    return LastImage(
        seq=captured.seq,
        at=captured.at,
        picture=build_picture_key(captured),
        label="not predicted yet",
        usual_s=usual_s,
    )


def build_tile(
    report: SourceReport,
    agent: AgentStatus,
    function: FunctionStatus,
    last: LastImage | None,
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
        silent_after_s: Time without an image after which a source with a rhythm counts as silent, seconds; 0: never.
    """
    uri = source_uri(function.site, report.name)
    tile = SourceTile(key=uri, name=report.name, source=uri, function=function.name, last=last)
    state, detail, since = _judge_report(report, agent, now) or _judge_function(function) or ("", "", None)
    if state:
        return replace(tile, state=state, detail=detail, since=since)
    return _judge_age(tile, report, function, now=now, silent_after_s=silent_after_s)


def build_foreign_tile(source: str, last: LastImage, *, now: float) -> SourceTile:
    """Return the tile of a source that isn't run by Eaves; it is never called silent, since nothing is known of it."""
    state = "ok" if -FUTURE_S <= now - last.at <= QUIET_AFTER_S else "quiet"
    return SourceTile(key=source, name=name_source(source), source=source, state=state, last=last, by_itself=True)


def _describe_answer(record: Record, usual_s: float | None) -> LastImage:
    prediction = parse_prediction(record)
    known = record.type in PREDICTED and prediction.label
    other = "refused" if record.type == IMAGE_REJECTED else "no label is likely enough"
    return LastImage(
        seq=record.seq,
        at=record.at,
        picture=build_picture_key(record),
        label=prediction.label if known else other,
        is_label=bool(known),
        score=prediction.score if known else None,
        confidence=prediction.confidence if known else "",
        usual_s=usual_s,
    )


_Judgement = tuple[str, str, float | None]


def _judge_report(report: SourceReport, agent: AgentStatus, now: float) -> _Judgement | None:
    """Return state, detail and beginning that the source itself or its agent reports; None when it works."""
    reason = report.reason or agent.reason
    since = None
    if report.last_error_age_s is not None and report.reason == report.last_error:
        since = round(now - report.last_error_age_s)
    if report.state == "starting" or (report.state, report.reason) == ("waiting", NOT_STARTED):
        return "starting", "The source is being started.", None
    if report.state == "waiting":
        return "silent", to_sentence(reason), since
    if report.state == "finished":
        return "quiet", to_sentence(reason) or "All images of the recording were played.", None
    if report.state == "watching" and not report.reason:
        return None
    words = {
        "paused": "The queue is full",
        "hung": "The source does not respond",
        "stopped": "The source does not run",
        "failed": "The source failed and is started again",
    }
    word = words.get(report.state, f"The agent is {report.state}" if report.state else "The state is not known")
    return "failing", f"{word}: {reason}" if reason else f"{word}.", since


def _judge_function(function: FunctionStatus) -> _Judgement | None:
    """Return state, detail and beginning when the function can't predict now; None when it can."""
    if function.state == "failed":
        reason = f": {function.reason}" if function.reason else "."
        return "failing", f"The function {function.name} fails{reason}", function.since
    if function.state == "stopped":
        return "failing", function.reason or f"Nothing runs the function {function.name}.", function.since
    return None


def _judge_age(
    tile: SourceTile, report: SourceReport, function: FunctionStatus, *, now: float, silent_after_s: float
) -> SourceTile:
    times = (report.last_captured_at, tile.last.at if tile.last else None)
    newest = max((at for at in times if at is not None and at <= now + FUTURE_S), default=None)
    age_s = None if newest is None else now - newest
    usual_s = tile.last.usual_s if tile.last else None
    if age_s is not None and usual_s is not None and silent_after_s > 0 and age_s > max(silent_after_s, 5 * usual_s):
        return replace(tile, state="silent", since=newest, detail="Its images came regularly until then.")
    if age_s is not None and age_s <= max(QUIET_AFTER_S, 3 * (usual_s or 0)):
        return tile
    if function.state == "starting":
        return replace(tile, state="starting", detail=f"The function {function.name} is being started.")
    if function.state == "idle":
        return replace(tile, state="asleep", detail="Starts with the next image.")
    return replace(tile, state="quiet", since=newest)
