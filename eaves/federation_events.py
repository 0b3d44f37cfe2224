"""Events of `eaves federate`, a site's sums and its judgement of a merged head, and their files at a receiver.

A receiver writes the data of each event into a file of its own, whose name says of which site it is, which of two files
is newer, and what its content must be: `federation/NAME/sums/SITE-SEQUENCE-DIGEST16.npz`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from eaves.base.names import NAME_PATTERN
from eaves.events import Event, event_id, source_uri

FEDERATION_SUMS = "dev.eaves.federation.sums.v1"
FEDERATION_JUDGEMENT = "dev.eaves.federation.judgement.v1"
FOLDER, HEAD = "federation", "head.npz"
"""Folder within a receiver's folder that has a folder for each model; name of the merged head within the latter."""
DIGEST_CHARACTERS = 16
_SUBJECT = re.compile(rf"(?P<sequence>[1-9][0-9]{{0,17}})-(?P<digest>[0-9a-f]{{{DIGEST_CHARACTERS}}})")
_FILE = re.compile(rf"(?P<site>{NAME_PATTERN.pattern})-{_SUBJECT.pattern}\.(npz|json)")
_SOURCE = re.compile(rf"/eaves/(?P<site>{NAME_PATTERN.pattern})/(?P<name>{NAME_PATTERN.pattern})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationKind:
    """One kind of these events.

    Attributes:
        folder: Folder of its files within the folder of a model.
        suffix: Suffix of its files.
        content_type: Media type of the data.
    """

    folder: str
    suffix: str
    content_type: str


KINDS = {
    FEDERATION_SUMS: FederationKind(folder="sums", suffix=".npz", content_type="application/octet-stream"),
    FEDERATION_JUDGEMENT: FederationKind(folder="judgements", suffix=".json", content_type="application/json"),
}
"""Event type to what distinguishes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """What the name of a site's file in a receiver's folder says.

    Attributes:
        site: Name of the site.
        sequence: Number that grows with each file of a site and a model.
        digest: First characters of the SHA-256 of the content, in hexadecimal.
    """

    site: str
    sequence: int
    digest: str


def build_federation_event(site: str, name: str, kind: str, sequence: int, data: bytes) -> Event:
    """Build the event with a site's sums, or its judgement; the same arguments give the same event.

    Args:
        site: Name of the site.
        name: Name of the model.
        kind: Type of the event: `FEDERATION_SUMS` or `FEDERATION_JUDGEMENT`.
        sequence: Number that is greater than that of all earlier events of this kind, from 1 to 18 digits.
        data: Content of the file.
    """
    source, subject = source_uri(site, name), f"{sequence}-{_digest(data)}"
    content_type = KINDS[kind].content_type
    identity = event_id(source, subject)
    return Event(id=identity, source=source, type=kind, subject=subject, datacontenttype=content_type, data=data)


def name_file(event: Event) -> str:
    """Return the path of an event's data within a receiver's folder; empty for another kind of event and a faulty one.

    The path is within the folder of the event's site and model for any attributes, and never that of another site.
    """
    kind = KINDS.get(event.type)
    source, subject = _SOURCE.fullmatch(event.source), _SUBJECT.fullmatch(event.subject or "")
    if kind is None or source is None or subject is None or subject["digest"] != _digest(event.data):
        return ""
    return f"{FOLDER}/{source['name']}/{kind.folder}/{source['site']}-{event.subject}{kind.suffix}"


def find_fault(event: Event) -> str:
    """Return why an event of these types can't be written into a folder; empty when it can, or has another type."""
    if event.type not in KINDS or name_file(event):
        return ""
    return (
        f"an event {event.type} must have the source /eaves/SITE/MODEL with two names, and the subject SEQUENCE-DIGEST "
        f"with the first {DIGEST_CHARACTERS} characters of the SHA-256 of its data "
        f"(got {event.source[:100]!r} and {(event.subject or '')[:64]!r})"
    )


def name_head(name: str) -> str:
    """Return the path of a model's merged head within a receiver's folder; empty when no model has such a name."""
    return f"{FOLDER}/{name}/{HEAD}" if NAME_PATTERN.fullmatch(name) else ""


def parse_file_name(name: str) -> SiteFile | None:
    """Return what a file's name says; None for one that is no site's file, such as one that is being written."""
    found = _FILE.fullmatch(name)
    return found and SiteFile(site=found["site"], sequence=int(found["sequence"]), digest=found["digest"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]
