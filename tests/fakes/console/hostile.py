"""A platform all of whose texts attack the page that shows them."""

import csv
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from eaves.admin.queue import SpoolQueue
from eaves.admin.report import LaneReport, LinkReport, QueueReport, SourceReport
from eaves.console.backend import JobStatus
from eaves.delivery import SinkResponse
from eaves.history import Record
from eaves.labels import LabelBook
from eaves.platform import FunctionStatus
from eaves.platform.status import PartStatus, ServedStatus
from eaves.problem_document import build_problem
from eaves.spool import Spool
from eaves.spool.score_shift import ScoreWindow
from tests.fakes.clock import START
from tests.fakes.console.backend import FakeBackend, FakeJobs
from tests.fakes.console.material import build_flow, captured_event, small_jpeg

ATTACK = "x'\"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"
"""Text that leaves an attribute in either quote, starts an element, and is a template."""
NAME_ATTACK = ATTACK.replace("/", "")
"""The same without `/`, for names in addresses."""
LINES_ATTACK = f"{NAME_ATTACK}\r\nSet-Cookie: injected=1\r\n\r\n<script>"
"""The same with line breaks, which would begin a header or end a message of a stream."""
KEPT = frozenset({"state", "type", "kind", "method", "component", "seq"})
"""Fields whose values are Eaves' own words."""


def poison(value: Any, name: str = "") -> Any:
    """Return a value with every text replaced by an attack, except for the words of Eaves itself."""
    if isinstance(value, str):
        return value if name in KEPT else LINES_ATTACK
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: poison(getattr(value, one.name), one.name) for one in fields(value)})
    if isinstance(value, Mapping):
        return {key: poison(one, key) for key, one in value.items()}
    return type(value)(poison(one, name) for one in value) if isinstance(value, (tuple, list)) else value


def build_hostile_backend(folder: Path, spool: Spool) -> FakeBackend:
    """Return a backend with sources, functions, records, dead letters and models whose texts are attacks.

    Args:
        folder: Directory for models.
        spool: Queue for dead letters.
    """
    backend = FakeBackend(title=ATTACK, functions=[_build_function("ready"), _build_function("idle")])
    flow = build_flow(30)
    flow.put_into(backend)
    backend.records.kept = [_poison_record(one) for one in backend.records.kept]
    backend.images.images = {(one.source, one.id): small_jpeg() for one in backend.records.kept if one.cause is None}
    backend.images.thumbnails = dict(backend.images.images)
    for number in range(4):
        subject = f"{ATTACK}{number}"
        spool.put(captured_event(90_000 + number, source=NAME_ATTACK, subject=subject, data=b"x"), lanes=(NAME_ATTACK,))
        (entry,) = spool.peek(NAME_ATTACK, newest_first=True)
        spool.dead_letter(entry, ATTACK, 422)
    backend.named_queues = {NAME_ATTACK: SpoolQueue(spool)}
    backend.known_runs = {NAME_ATTACK: folder / NAME_ATTACK}
    backend.labels, backend.jobs = _build_labels(folder)
    backend.answer = lambda *_: SinkResponse(status=422, body=build_problem(422, ATTACK, ATTACK))
    return backend


def _build_labels(folder: Path) -> tuple[LabelBook, FakeJobs]:
    """Return a book and jobs of whose photos, classes, people and reports every text is an attack."""
    photos, review = folder / "photos", folder / "review.json"
    photos.mkdir(exist_ok=True)
    (photos / f"{NAME_ATTACK}.jpg").write_bytes(small_jpeg())
    with (photos / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "label", "who"], [f"{NAME_ATTACK}.jpg", ATTACK, ATTACK]])
    point = {"labels": 25, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    texts = {"text": ATTACK, "notes": [ATTACK], "expected": {"text": ATTACK}}
    guess = {f"{NAME_ATTACK}.jpg": {"label": ATTACK, "margin": 0.0}}
    review.write_text(json.dumps({"labelled": 1, "suggestions": guess, "curve": [point], **texts}))
    states = {"review": "failed", "collect": "failed", "train": "running"}
    known = {
        kind: JobStatus(state=state, started=START, lines=(ATTACK,), result={"run": NAME_ATTACK}, fault=ATTACK)
        for kind, state in states.items()
    }
    return LabelBook(photos), FakeJobs(review, known=known)


def _poison_record(record: Record) -> Record:
    extensions = dict.fromkeys(record.extensions, LINES_ATTACK)
    if record.cause:
        extensions["causesource"] = f"/eaves/mill/{NAME_ATTACK}"
        extensions["causeid"] = f"{record.cause[1]}{NAME_ATTACK}"
        extensions["confidence"] = record.extensions["confidence"]
    text = json.dumps(poison(json.loads(record.text))) if record.text else ""
    return replace(
        record,
        source=f"/eaves/mill/{NAME_ATTACK}",
        id=f"{record.id}{NAME_ATTACK}",
        subject=LINES_ATTACK,
        extensions=extensions,
        text=text,
    )


def _build_function(state: str) -> FunctionStatus:
    source = SourceReport(name="s", state="waiting", reason="r", captured=3, last_error="e", last_error_age_s=3.0)
    link = LinkReport(to="t", state="down", since=START, since_age_s=9.0, reason="r", backlog_events=3)
    lane = LaneReport(lane="l", queued=1, dead=1, delivering=True, paused=True, reason="p", since=START)
    windows = (ScoreWindow(artifact="a", source="s", since=START),)
    agent = QueueReport(name="a", lanes=(lane,), sources=(source,), link=link, windows=windows)
    silent = QueueReport(name="b", state="unknown", reason="r")
    status = FunctionStatus(
        name="f",
        state=state,
        replicas=1,
        artifact="a",
        artifact_digest="d",
        lanes=(lane,),
        sinks=(lane,),
        site="s",
        serving=(ServedStatus(revision="r", percent=90, image="i"),),
        agents=(agent, silent),
        parts=(PartStatus(kind="Trigger", name="n", component="trigger"),),
    )
    poisoned: FunctionStatus = poison(status)
    return replace(poisoned, name=f"{state}{NAME_ATTACK}")
