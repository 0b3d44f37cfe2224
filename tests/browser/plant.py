"""A packing line to look at: four cameras, two functions, a link to the cloud, dead letters, and hours of images."""

import functools
import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from eaves.admin import Queue
from eaves.admin.queue import SpoolQueue
from eaves.admin.report import LaneReport, LinkReport, QueueReport, SourceReport
from eaves.artifact.store import gate_file
from eaves.delivery.sink_state import LaneDelivery
from eaves.history import Record
from eaves.labels import LabelBook
from eaves.platform import FunctionStatus
from eaves.platform.status import ServedStatus
from eaves.rollout import RolloutReport
from eaves.rollout.state import RevisionReport
from eaves.spool import Spool
from tests.fakes.console.backend import FakeBackend, FakeJobs
from tests.fakes.console.material import DIGEST, LABELS, SITE, captured_event, classified_event, record_of, small_jpeg
from tests.fakes.models.run import write_run

CAMERAS = ("belt-1", "belt-2", "sorting-hall", "dock-door")
LANE = "trigger/flowers/flowers"
HOSTILE_LABEL = "<img src=x onerror=alert(1)>"
LONG_NAME = "2026-11-26_line-2_shift-late_batch-000184_frame-0000000000000000000000001.jpg"

draw = functools.cache(small_jpeg)

Photos = Mapping[str, Sequence[bytes]]
"""Encoded photos by label."""


@dataclass
class Plant:
    """A backend filled with what a packing line shows after a few hours.

    Attributes:
        backend: What the console sees.
        photos: Photos that the cameras take, by label; empty: drawn images.
        taken: Number of images captured so far.
    """

    backend: FakeBackend
    photos: Photos = field(default_factory=dict)
    taken: int = 0

    def capture(
        self,
        source: str = "belt-1",
        *,
        label: str = "",
        score: float = 0.97,
        at: float | None = None,
        subject: str = "",
    ) -> Record:
        """Let a camera capture an image that the function classifies; return the prediction's record."""
        number, label = self.taken, label or LABELS[self.taken % len(LABELS)]
        self.taken += 1
        at = time.time() if at is None else at
        photos = self.photos.get(label, ())
        image = photos[number // len(LABELS) % len(photos)] if photos else draw(number % 40)
        cause = captured_event(number + 1, source=source, data=image, subject=subject or f"{source}/{number:06d}.jpg")
        kept, images = self.backend.records.kept, self.backend.images
        images.images[cause.source, cause.id] = image
        images.thumbnails[cause.source, cause.id] = image
        kept.append(record_of(cause, self.backend.records.newest() + 1, at=at))
        kept.append(record_of(classified_event(cause, label=label, score=score), kept[-1].seq + 1, at=at + 0.031))
        return kept[-1]

    def samples(self) -> dict[str, str]:
        """Values for the arguments in addresses of pages."""
        return {
            "seq": str(self.backend.records.newest()),
            "dead_letters.seq": "1",
            "change": "promote",
            "queue": "broker",
            "name": "flowers",
            "models.name": "flowers-1",
        }


def build_plant(
    images: int = 40,
    *,
    photos: Photos | None = None,
    link_up: bool = True,
    with_hostile_names: bool = True,
    now: float | None = None,
) -> Plant:
    """Build a packing line.

    Args:
        images: Number of images, at least 16: six each of the two cameras that are quiet now, the others of the belts.
        photos: Photos that the cameras take, by label; None: drawn images.
        link_up: Whether the cloud can be reached.
        with_hostile_names: Whether one label is a script, and one file name is very long.
        now: Time of the newest image, Unix seconds; None: the present.
    """
    now = time.time() if now is None else now
    backend = FakeBackend(title="packing-line-2", functions=list_functions(now, link_up=link_up))
    plant = Plant(backend=backend, photos=photos or {})
    for number in range(6):
        plant.capture("sorting-hall", at=now - 6 * 3600 - 30 * (6 - number) ** 5)  # asleep
    for number in range(6):
        plant.capture("dock-door", at=now - 720 - 20 * (6 - number))
    for number in range(images - 12):
        score = 0.58 if number % 7 == 6 else 0.995 - number % 5 / 40
        hostile = with_hostile_names and number == images - 15
        plant.capture(
            CAMERAS[number % 2],
            label=HOSTILE_LABEL if hostile else "",
            score=score,
            at=now - 2.0 - (images - 13 - number) * min(4.0, 650 / images),
            subject=LONG_NAME if hostile else "",
        )
    backend.log_lines["flowers"] = [f"2026-11-26T14:02:{one:02} INFO answered in 27 ms" for one in range(40)]
    return plant


def list_functions(now: float, *, link_up: bool) -> list[FunctionStatus]:
    """Two functions: one that serves two revisions, and one that has no replica because nothing asks for it."""
    return [
        FunctionStatus(
            name="flowers",
            state="ready",
            replicas=2,
            artifact="artifacts/flowers-v3",
            artifact_digest=DIGEST,
            lanes=(LaneReport(lane="trigger/flowers/flowers", queued=3, dead=3, delivering=True),),
            delivered=18_422,
            site=SITE,
            serving=(
                ServedStatus(revision="flowers-00002", percent=90, image="registry.example/flowers@sha256:1111"),
                ServedStatus(revision="flowers-00003", percent=10, image="registry.example/flowers@sha256:2222"),
            ),
            rollout=RolloutReport(
                phase="advancing",
                reason="1,010 of 2,000 requests counted; this step is judged at 2,000",
                revisions=(
                    RevisionReport(revision="flowers-00003", percent=10, requests=1_010, errors=3, mean_ms=20.5),
                    RevisionReport(revision="flowers-00002", percent=90, requests=9_090, errors=8, mean_ms=19.5),
                ),
            ),
            agents=(build_agent(now), build_relay(now, up=link_up)),
        ),
        FunctionStatus(
            name="defects",
            state="idle",
            artifact="artifacts/defects-v1",
            artifact_digest="ab" * 32,
            site=SITE,
            agents=(
                QueueReport(
                    name="defects",
                    state="running",
                    sources=(_camera("sorting-hall", now, age_s=6.0 * 3600, captured=21),),
                ),
            ),
        ),
    ]


def build_agent(now: float) -> QueueReport:
    """An agent with three cameras, of which one is silent."""
    silent = "no answer from rtsp://dock-door.local/stream: timed out"
    return QueueReport(
        name="flowers",
        state="running",
        sources=(
            _camera("belt-1", now, age_s=2.0, captured=9_211),
            _camera("belt-2", now, age_s=5.0, captured=9_190),
            SourceReport(
                name="dock-door",
                state="waiting",
                reason=silent,
                captured=412,
                last_captured_at=now - 740,
                last_error=silent,
                last_error_age_s=738.0,
            ),
        ),
    )


def build_relay(now: float, *, up: bool) -> QueueReport:
    """A relay whose link is up, or down for 40 minutes."""
    to = "https://cloud.example/events"
    if up:
        link = LinkReport(to=to, up=True, state="up", since_age_s=86_400.0)
        return QueueReport(name="relay", state="running", link=link)
    reason = "no answer: [Errno 101] Network is unreachable"
    link = LinkReport(
        to=to,
        state="down",
        since_age_s=2_430.0,
        reason=reason,
        backlog_events=1_184,
        backlog_bytes=912_000,
        oldest_age_s=2_395.0,
    )
    return QueueReport(name="relay", state="running", lanes=(LaneReport(lane="archive", queued=1_184),), link=link)


def bury_events(spool: Spool) -> Queue:
    """Put three dead letters into a spool: an image that is cut off, a text, and a hostile name; return its queue."""
    letters = (
        ("frame-000017.jpg", small_jpeg(17)[:900], "the image is corrupt: it is cut off", 422),
        ("notes.jpg", b"shift report: all good", "not an image: text/plain", 415),
        (HOSTILE_LABEL, small_jpeg(3), "the function had no answer after 12 tries", 503),
    )
    for number, (subject, data, reason, status) in enumerate(letters):
        spool.put(captured_event(90_000 + number, subject=subject, data=data), lanes=(LANE,))
        (entry,) = spool.peek(LANE, newest_first=True)
        spool.dead_letter(entry, reason, status)
    return SpoolQueue(spool, deliveries=lambda: [LaneDelivery(lane=LANE)])


def build_labels(folder: Path, *, labelled: int = 12, photos: int = 24) -> tuple[LabelBook, FakeJobs]:
    """Write photos of which some have labels, and what a model says about them; return their book and the jobs."""
    book, jobs = LabelBook(folder / "photos"), FakeJobs(folder / "review.json")
    files = [book.add_photo(f"belt-{number:03}.jpg", draw(number)) for number in range(photos)]
    for name in LABELS[:3]:
        book.name_class(name, "Ann")
    for number, file in enumerate(files[:labelled]):
        book.put({file: LABELS[number % 3]}, who="Ann")
    doubt = {"file": files[0], "label": LABELS[0], "looks_like": LABELS[1], "margin": 0.4}
    document = {
        "created": "2099-01-01T00:00:00Z",
        "labelled": labelled,
        "piles": [files[-4:]],
        "suggestions": {file: {"label": LABELS[n % 3], "margin": n / 100} for n, file in enumerate(files)},
        "disagreements": [doubt],
        "harmful": [doubt | {"gain": 0.02}],
        "curve": [{"labels": 25 * n, "accuracy": 1 - 0.4 / n, "low": 0.9 - 0.4 / n, "high": 1.0} for n in (1, 2, 3)],
        "expected": {"more": 50, "gain": 0.02, "low": -0.005, "high": 0.04, "text": "50 more labels bring 2 points."},
        "text": "These labels are enough for a first model.",
        "notes": ["4 photos are near copies of each other."],
    }
    jobs.review.write_text(json.dumps(document))
    return book, jobs


def list_runs(folder: Path) -> dict[str, Path]:
    """Write two runs, the first with an artifact and the gate's answer; return where they are, by their names."""
    names = [f"flowers-{number}" for number in (1, 2)]
    artifact = folder / "artifacts" / names[0]
    artifact.mkdir(parents=True)
    (artifact / "manifest.json").write_text("{}")
    lines = ["accuracy 0.938 (0.881 to 0.973 with 95 % confidence) on 113 held-out images"]
    answer = {"passed": True, "lines": lines, "function": "flowers", "replaces": [DIGEST]}
    gate_file(artifact).write_text(json.dumps({**answer, "artifact": hashlib.sha256(b"{}").hexdigest()}))
    return {name: write_run(folder / "runs" / name, photos=folder / "photos").path for name in names}


def read_photos(folder: Path, *, per_label: int = 8, long_side: int = 640) -> Photos:
    """Read photos from a folder of classes, made smaller as cameras of a line would send them.

    Args:
        folder: Folder with one folder per class.
        per_label: Number of photos of each class.
        long_side: Size of the longer side, pixels.
    """
    found: dict[str, list[bytes]] = {}
    for name in sorted(one.name for one in folder.iterdir() if one.is_dir()):
        label = next((label for label in LABELS if name.startswith(label)), name)
        found[label] = [_shrink(path, long_side) for path in sorted((folder / name).glob("*.jpg"))[:per_label]]
    return found


def _shrink(path: Path, long_side: int) -> bytes:
    stream = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail((long_side, long_side))
        image.convert("RGB").save(stream, "JPEG", quality=82)
    return stream.getvalue()


def _camera(name: str, now: float, *, age_s: float, captured: int) -> SourceReport:
    return SourceReport(
        name=name, state="watching", captured=captured, last_captured_at=now - age_s, last_captured_age_s=age_s
    )
