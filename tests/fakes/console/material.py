"""Realistic events, their records in the history, and small pictures, for tests of the console."""

import colorsys
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image, ImageDraw

from eaves.delivery.rejection import build_refusal
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_INSPECTED, Event, event_id, reply_id, source_uri
from eaves.history import Record
from tests.fakes.clock import START
from tests.fakes.console.backend import FakeBackend

SITE = "mill"
DIGEST = hashlib.sha256(b"an artifact").hexdigest()
LABELS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
TIMINGS_MS = {"decode": 4.125, "preprocess": 1.5, "infer": 21.75, "postprocess": 0.0625}


def captured_event(
    number: int = 1, *, source: str = "camera-1", subject: str | None = None, data: bytes | None = None
) -> Event:
    """An image event as an agent sends it.

    Args:
        number: Makes the id and the picture different from others.
        source: Name of the source.
        subject: Path of the image; `frame-NUMBER.jpg` when it is None.
        data: The encoded image; a small JPEG when it is None.
    """
    uri = source_uri(SITE, source)
    data = small_jpeg(number) if data is None else data
    return Event(
        id=event_id(uri, str(number)),
        source=uri,
        type=IMAGE_CAPTURED,
        subject=f"frame-{number}.jpg" if subject is None else subject,
        time="2026-11-26T14:02:31.250Z",
        datacontenttype="image/jpeg",
        data=data,
        extensions={"partitionkey": source, "datadigest": f"sha256:{hashlib.sha256(data).hexdigest()}"},
    )


def classified_event(
    cause: Event,
    *,
    label: str = "rose",
    score: float = 0.9375,
    function: str = "flowers",
    version: str = "3",
    digest: str = DIGEST,
) -> Event:
    """The reply of a function to an image event, as `functions.service` builds it.

    Args:
        cause: The image event.
        label: Label of the best prediction; empty when no label reached the threshold.
        score: Score of the best prediction.
        function: Name of the function.
        version: Version of the model.
        digest: Digest of the artifact.
    """
    others = [(other, (1 - score) * share) for other, share in zip(LABELS, (0.5, 0.3, 0.2), strict=False)]
    scored = [(label, score), *((other, share) for other, share in others if other != label)] if label else []
    document = {
        "predictions": [{"label": one, "score": round(value, 6)} for one, value in scored],
        "model": "flowers",
        "version": version,
        "artifact": f"sha256:{digest}",
        "timings_ms": TIMINGS_MS,
    }
    passed_on = {name: value for name, value in cause.extensions.items() if name in ("partitionkey", "datadigest")}
    return Event(
        id=reply_id(cause, digest),
        source=source_uri(SITE, function),
        type=IMAGE_CLASSIFIED,
        subject=cause.subject,
        time=cause.time,
        datacontenttype="application/json",
        data=json.dumps(document).encode(),
        extensions={
            **passed_on,
            "causeid": cause.id,
            "causesource": cause.source,
            "confidence": "high" if score >= 0.8 else "low",
            **({"label": label} if label else {}),
            "model": "flowers",
            "modelversion": version,
        },
    )


BOXES = ((0.25, 0.5, 0.2, 0.1, 5.125), (0.75, 0.0, 0.25, 0.25, 4.5))
INSPECTION = {
    "label": "anomalous",
    "score": 5.125,
    "p_value": 0.012345,
    "threshold": 4.0,
    "boxes": [list(box) for box in BOXES],
    "model": "parts",
    "version": "3",
    "timings_ms": TIMINGS_MS,
}


def inspected_event(cause: Event) -> Event:
    """The reply of a function that finds two unusual regions in an image."""
    found = classified_event(cause, label="anomalous", score=0.5, function="parts")
    return replace(found, type=IMAGE_INSPECTED, data=json.dumps(INSPECTION).encode())


def rejected_event(cause: Event, *, reason: str = "the image is corrupt: it is cut off") -> Event:
    """The event that reports that a function refused an image."""
    return build_refusal(cause, SITE, by="flowers", status=422, reason=reason)


def record_of(event: Event, seq: int, *, at: float = START) -> Record:
    """The record that the history keeps of an event.

    Args:
        event: The event.
        seq: Position in the history.
        at: Time of arrival, Unix seconds.
    """
    is_json = (event.datacontenttype or "").endswith("json")
    return Record(
        seq=seq,
        at=at,
        id=event.id,
        type=event.type,
        source=event.source,
        subject=event.subject or "",
        extensions=dict(event.extensions),
        size_bytes=len(event.data),
        text=event.data.decode()[:2_000] if is_json else "",
    )


@dataclass(kw_only=True)
class Flow:
    """Images that were captured and classified one after the other.

    Attributes:
        events: All events in the order of arrival: capture, prediction, capture, prediction, ...
        records: Their records, oldest first.
        images: The encoded images by source and id of the captured event.
    """

    events: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    images: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def add(self, event: Event, *, at: float) -> Record:
        """Add one event at its time of arrival, Unix seconds."""
        record = record_of(event, len(self.records) + 1, at=at)
        self.events.append(event)
        self.records.append(record)
        if event.type == IMAGE_CAPTURED:
            self.images[event.source, event.id] = event.data
        return record

    def put_into(self, backend: FakeBackend) -> None:
        """Make a backend show these events, with each image as its own thumbnail."""
        backend.records.kept.extend(self.records)
        backend.images.images.update(self.images)
        backend.images.thumbnails.update(self.images)


def build_flow(
    count: int,
    *,
    sources: Sequence[str] = ("camera-1", "camera-2"),
    labels: Sequence[str] = LABELS,
    first_at: float = START,
    every_s: float = 2.0,
    latency_s: float = 0.03,
    with_images: bool = True,
) -> Flow:
    """Build images that sources captured in turn, each with its prediction; every seventh has a low confidence.

    Args:
        count: Number of images; the history gets twice as many records.
        sources: Names of the sources, in turn.
        labels: Labels of the predictions, in turn.
        first_at: Arrival of the first image, Unix seconds.
        every_s: Time from one image to the next, seconds.
        latency_s: Time from an image to its prediction, seconds.
        with_images: Whether each event has a picture of its own; without, all share one, which is faster.
    """
    flow, shared = Flow(), None if with_images else small_jpeg()
    for number in range(count):
        cause = captured_event(number + 1, source=sources[number % len(sources)], data=shared)
        score = 0.55 if number % 7 == 6 else 0.99 - number % 5 / 50
        reply = classified_event(cause, label=labels[number % len(labels)], score=score)
        flow.add(cause, at=first_at + number * every_s)
        flow.add(reply, at=first_at + number * every_s + latency_s)
    return flow


def small_jpeg(number: int = 1, *, width: int = 160, height: int = 120) -> bytes:
    """A JPEG of a few kilobytes, whose colour and text are different for each number."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.381966 % 1, 0.55, 0.6)
    image = Image.new("RGB", (width, height), (int(255 * red), int(255 * green), int(255 * blue)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=(250, 245, 230))
    draw.text((width // 2 - 10, height // 2 - 5), str(number), fill=(20, 20, 20))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()
