"""Reads the event that starts a training Job: the changed dataset, and the identity of the requested run.

JobSink mounts the event as the file `event`, structured JSON, in a folder; `K_EVENT_PATH` names the folder.

Source: Knative Eventing 1.22, pkg/apis/sinks/v1alpha1 and cmd/jobsink/main.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from eaves.errors import ConfigError, DatasetError, EventError
from eaves.events import DATASET_UPDATED, decode

FILE = "event"
_STRUCTURED = {"content-type": "application/cloudevents+json"}
_UNCLEAR = ("%", "\\", "?", "#", "::", "*", "[")
"""Characters that libraries read differently in a URI; a URI from an event may not have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvent:
    """Training that an event requests.

    Attributes:
        dataset: URI of the data, not yet checked by `check_allowed`.
        identity: Identity of the run: sha256 of the event's source, NUL and its id, hex; the same for each delivery.
    """

    dataset: str
    identity: str

    def output(self, below: str) -> str:
        """Return the path or URI that the run is written to: the location `below`, a slash and the run's identity."""
        return f"{below.rstrip('/')}/{self.identity}"


def read_event(directory: Path) -> TrainingEvent:
    """Read the event from the folder that JobSink mounts.

    Raises:
        ConfigError: The folder has no event.
        EventError: The event isn't well-formed, is of another type, or names no data.
    """
    try:
        body = (directory / FILE).read_bytes()
    except OSError as error:
        raise ConfigError.single(
            "--event",
            "",
            f"can't read {directory / FILE}: {error.strerror}",
            hint="name the folder that JobSink mounts; the variable K_EVENT_PATH holds its path",
        ) from error
    event = decode(_STRUCTURED, body)
    if event.type != DATASET_UPDATED:
        hint = f"filter the Trigger of the JobSink to the type {DATASET_UPDATED}"
        raise EventError(f"an event of the type {event.type[:80]!r} can't start a training", hint=hint)
    data = event.json()
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(dataset, str) or not dataset:
        raise EventError(
            "the event does not name data", hint='set the event\'s data to {"dataset": "s3://BUCKET/FOLDER"}'
        )
    # JobSink names the Job by the md5 of source and id without a separator, which ("a", "bc") and ("ab", "c") share.
    identity = hashlib.sha256(f"{event.source}\0{event.id}".encode()).hexdigest()
    return TrainingEvent(dataset=dataset, identity=identity)


def check_allowed(uri: str, prefixes: Sequence[str]) -> None:
    """Check that a URI from an event is below one of `prefixes`: same scheme, host and leading path segments.

    Raises:
        DatasetError: The URI is below no prefix, or libraries may read it differently.
    """
    parts = _split(uri)
    if parts is None:
        raise DatasetError(
            f"the URI of the event's data is not valid: {uri[:200]!r}",
            hint="set the event's data to a URI such as s3://BUCKET/FOLDER",
        )
    if not any(_is_below(parts, allowed) for prefix in prefixes if (allowed := _split(prefix))):
        known = ", ".join(prefixes) or "none"
        hint = (
            "add the URI's prefix to data.allowed_prefixes (EAVES_DATA_ALLOWED_PREFIXES) if you trust the "
            "sender of the events"
        )
        raise DatasetError(
            f"the event names {uri[:200]!r}, which is not below an allowed prefix (allowed: {known})", hint=hint
        )


def _split(uri: str) -> SplitResult | None:
    """Return the parts of a URI; None if libraries may parse it differently and so bypass the allowed prefixes."""
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
