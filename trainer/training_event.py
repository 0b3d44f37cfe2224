"""The event that starts a training Job: which data set changed, and the identity of the run that it asks for.

JobSink mounts the event as the file `event`, structured JSON, in a folder; `K_EVENT_PATH` names the folder.

Source: Knative Eventing 1.22, pkg/apis/sinks/v1alpha1 and cmd/jobsink/main.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from eaves.errors import ConfigError, DatasetError, EventError, Fault
from eaves.events import DATASET_UPDATED, Event, decode

FILE = "event"
_STRUCTURED = {"content-type": "application/cloudevents+json"}
_UNCLEAR = ("%", "\\", "?", "#", "::", "*", "[")
"""In a URI from an event: they mean one thing to one library and another to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """What an event asks for.

    Attributes:
        dataset: URI of the data. Not checked: see `check_allowed`.
        identity: Of the run; the same however often the event is delivered. Hex.
    """

    dataset: str
    identity: str

    def output(self, below: str) -> str:
        """Where the run goes: under its identity."""
        return f"{below.rstrip('/')}/{self.identity}"


def read_event(directory: Path) -> TrainingEvent:
    """The event in a folder as JobSink mounts it.

    Raises:
        ConfigError: There is none.
        EventError: It isn't well-formed, is of another type, or names no data.
    """
    try:
        body = (directory / FILE).read_bytes()
    except OSError as error:
        fault = Fault(origin="--event", path="", message=f"can't read {directory / FILE}: {error.strerror}")
        raise ConfigError([fault], hint="name the folder that JobSink mounts, as K_EVENT_PATH does") from error
    event = decode(_STRUCTURED, body)
    if event.type != DATASET_UPDATED:
        hint = f"let the trigger before the JobSink pass {DATASET_UPDATED} only"
        raise EventError(f"an event of type {event.type[:80]!r} starts no training", hint=hint)
    data = event.json()
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(dataset, str) or not dataset:
        raise EventError("the event names no data", hint='its data must be like {"dataset": "s3://BUCKET/FOLDER"}')
    return TrainingEvent(dataset=dataset, identity=identity(event))


def identity(event: Event) -> str:
    """Of the run that an event asks for: sha256 of its source, NUL and its id, which no two events share. Hex.

    JobSink's own name for the Job, md5 of both without a separator, takes ("a", "bc") and ("ab", "c") for the same.
    """
    return hashlib.sha256(f"{event.source}\0{event.id}".encode()).hexdigest()


def check_allowed(uri: str, prefixes: Sequence[str]) -> None:
    """Accept a URI from an event only below one of `prefixes`: same scheme, same host, same leading path segments.

    Raises:
        DatasetError: It isn't, or can't be told.
    """
    parts = _split(uri)
    if parts is None:
        raise DatasetError(f"not a plain URI: {uri[:200]!r}", hint="an event names data like s3://BUCKET/FOLDER")
    if not any(_is_below(parts, allowed) for prefix in prefixes if (allowed := _split(prefix))):
        known = ", ".join(prefixes) or "none"
        hint = "add its prefix to data.allowed_prefixes (EAVES_DATA_ALLOWED_PREFIXES) if you trust who sends the events"
        raise DatasetError(f"an event may not name {uri[:200]!r}; allowed prefixes: {known}", hint=hint)


def _split(uri: str) -> SplitResult | None:
    """The parts of a URI; None unless every library would read it alike."""
    if not uri.isprintable() or any(sign in uri for sign in _UNCLEAR):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    if "://" not in uri or "@" in parts.netloc or not {"", ".", ".."}.isdisjoint(_segments(parts)):
        return None
    return parts if parts.netloc or parts.scheme == "file" else None


def _segments(parts: SplitResult) -> list[str]:
    path = parts.path.removeprefix("/").removesuffix("/")
    return path.split("/") if path else []


def _is_below(parts: SplitResult, allowed: SplitResult) -> bool:
    inside, prefix = _segments(parts), _segments(allowed)
    return (parts.scheme, parts.netloc, inside[: len(prefix)]) == (allowed.scheme, allowed.netloc, prefix)
