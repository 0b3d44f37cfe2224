"""CloudEvents: the frozen Event value, its HTTP encodings, the event types of Eaves, and how ids are made.

This module reads messages itself, lets the SDK validate the attributes and encode headers, and passes data through as
bytes. `eaves.cloudevents_sdk` lists how the SDK's own behaviour would differ.

Source: CloudEvents 1.0.2 (spec.md) and its HTTP protocol binding (bindings/http-protocol-binding.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from eaves.base.clock import parse_timestamp
from eaves.base.strict_json import parse_json, render_json
from eaves.errors import EventError, UnsupportedContentError

TYPE_PREFIX = "dev.eaves."
IMAGE_CAPTURED = "dev.eaves.image.captured.v1"
IMAGE_CLASSIFIED = "dev.eaves.image.classified.v1"
IMAGE_EMBEDDED = "dev.eaves.image.embedded.v1"
IMAGE_INSPECTED = "dev.eaves.image.inspected.v1"
IMAGE_REJECTED = "dev.eaves.image.rejected.v1"
TENSOR_CAPTURED = "dev.eaves.tensor.captured.v1"
TENSOR_PREDICTED = "dev.eaves.tensor.predicted.v1"
DATASET_UPDATED = "dev.eaves.dataset.updated.v1"
MODEL_PUBLISHED = "dev.eaves.model.published.v1"
MODEL_SHIFTED = "dev.eaves.model.shifted.v1"
PREDICTED = (IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_INSPECTED, TENSOR_PREDICTED)
"""Types of the events that carry a function's answer; a model sends one of them."""
REPLY_TYPES = frozenset({*PREDICTED, IMAGE_REJECTED, MODEL_SHIFTED})
"""Event types that only Eaves emits: a function answers them with 202 and no body, so that no reply can loop."""

DATAREF, DATADIGEST = "dataref", "datadigest"
"""Extension attributes with the URL of an event's data and with their digest, `sha256:HEX`. Source: CloudEvents,
extensions/dataref.md; `datadigest` is an attribute of Eaves."""
COPIED_EXTENSIONS = ("partitionkey", "sequence", DATADIGEST, "traceparent", "tracestate")
"""Extension attributes that a reply copies from the event that caused it."""
CHOSEN, CHOSEN_SCORE = "chosen", "chosenscore"
"""Extension attributes of an image that an agent has chosen for labelling: why, `audit` or `unsure`, and the margin of
its prediction, 0 to 1 with 6 digits, if the prediction has one."""
AUDIT, UNSURE = "audit", "unsure"
"""Values of `chosen`: an image of the uniform sample that only judges, and one that the model was unsure of."""
PREDICTION_EXTENSIONS = ("label", "confidence", "model", "modelversion")
"""Extension attributes of a prediction that a chosen image copies."""
STRUCTURED = "application/cloudevents"
BATCH = "application/cloudevents-batch"
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_BYTES = 4096
"""Maximum size of one attribute's value in UTF-8, bytes: the longest path on Linux. Percent-encoded in a header it may
be three times as long; HTTP clients accept header lines of 64 KB. A reply carries several such attributes (`causeid`,
`subject`, ...)."""
MIN_INTEGER, MAX_INTEGER = -(2**31), 2**31 - 1
"""Range of an attribute of type Integer, which has 32 bits. Source: CloudEvents 1.0.2, spec.md, type system."""
MAX_NAME = 64
"""Maximum number of characters in an attribute's name; the specification recommends 20."""
_REQUIRED = ("id", "source", "specversion", "type")
_OPTIONAL = ("datacontenttype", "dataschema", "subject", "time")
CONTEXT_ATTRIBUTES = frozenset({*_REQUIRED, *_OPTIONAL})
"""Attributes that the specification defines; all others are extensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One CloudEvent.

    Attributes:
        id: Id that is unique per source; the same occurrence always has the same id.
        source: URI-reference of the producer, `/eaves/SITE/SOURCE`.
        type: Reverse-DNS name of what happened.
        data: The payload as bytes, whatever its content type.
        datacontenttype: Media type of `data`.
        subject: Subject of the event within its source; in Eaves a relative path or a topic.
        time: Time of the occurrence as RFC 3339 text, exactly as it was received.
        dataschema: URI of the payload's schema.
        extensions: Extension attributes by name; names have only lower-case a-z and 0-9.
    """

    id: str
    source: str
    type: str
    data: bytes = b""
    datacontenttype: str | None = None
    subject: str | None = None
    time: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    def attributes(self) -> dict[str, str]:
        """Return every attribute that is set, by its CloudEvents name."""
        own = {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "specversion": "1.0",
            "datacontenttype": self.datacontenttype,
            "dataschema": self.dataschema,
            "subject": self.subject,
            "time": self.time,
        }
        return {**{key: value for key, value in own.items() if value is not None}, **self.extensions}

    @property
    def is_image(self) -> bool:
        """Whether the content type of its data is that of an image."""
        return (self.datacontenttype or "").strip().lower().startswith("image/")

    def with_extensions(self, **extensions: str) -> Event:
        """Return a copy with these extension attributes added or replaced."""
        return replace(self, extensions={**self.extensions, **extensions})

    def json(self) -> Any:
        """Parse the data as JSON.

        Raises:
            EventError: When the data isn't JSON.
        """
        try:
            return parse_json(self.data)
        except ValueError as error:
            raise EventError(f"the data of event {self.id[:64]!r} is not JSON: {error}") from error


def is_event(headers: Mapping[str, str]) -> bool:
    """Return whether a request claims to be a CloudEvent, in any content mode (HTTP binding, section 3)."""
    return _find_content_type(headers).strip().lower().startswith(STRUCTURED) or any(
        name.lower() == "ce-specversion" for name in headers
    )


def decode(headers: Mapping[str, str], body: bytes) -> Event:
    """Decode one event from an HTTP message in binary or structured mode.

    Raises:
        UnsupportedContentError: For batches and structured formats other than JSON.
        EventError: When the message is not a well-formed CloudEvents 1.0 event; it names every fault.
    """
    content_type = _find_content_type(headers).strip().lower()
    if content_type.startswith(BATCH):
        raise UnsupportedContentError("batches of CloudEvents are not supported", hint="send one event per request")
    if content_type.startswith(STRUCTURED):
        if content_type.partition(";")[0].strip() != "application/cloudevents+json":
            raise UnsupportedContentError(
                f"structured CloudEvents must be application/cloudevents+json, not {content_type[:64]!r}"
            )
        return _decode_structured(body)
    return _decode_binary(headers, body)


def encode_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an event in binary mode: the body is the unchanged data.

    Raises:
        EventError: When the event is not valid, such as a bad extension name or text that is not Unicode.
    """
    from eaves import cloudevents_sdk

    headers, body = cloudevents_sdk.encode(_typed(event.attributes()), event.data)
    if event.time is not None:
        headers["ce-time"] = event.time  # the SDK formats a datetime again, which truncates it to microseconds
    return headers, body


def encode_structured(event: Event) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an event in structured JSON mode: JSON data inline, other data as base64.

    Raises:
        EventError: When the event is not valid, as in `encode_binary`.
    """
    from eaves import cloudevents_sdk

    cloudevents_sdk.validate(_typed(event.attributes()), event.data)
    fields = {**event.attributes(), **_data_member(event)}
    return {"content-type": "application/cloudevents+json"}, json.dumps(fields).encode()


def event_id(source: str, position: str) -> str:
    """Return the id of the item at `position` of `source`; it is the same every time."""
    return _hash(source, position)


def reply_id(cause: Event, artifact_digest: str) -> str:
    """Return the id of one artifact's reply to one event; it is the same on every retry and every replica."""
    return _hash(cause.source, cause.id, artifact_digest)


def source_uri(site: str, name: str) -> str:
    """Return the `source` attribute for events of a named source or function at a site."""
    return f"/eaves/{site}/{name}"


def _hash(*parts: str) -> str:
    # surrogatepass: positions hold file names, which on Linux may be any bytes.
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]


def _find_content_type(headers: Mapping[str, str]) -> str:
    return next((value for name, value in headers.items() if name.lower() == "content-type"), "")


def is_json(content_type: str | None) -> bool:
    """Return whether data of this type is JSON, which is also the default without a type (JSON event format, 3.1.1).

    In structured mode JSON data is not kept byte by byte: any intermediary may serialise it again.
    """
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _decode_binary(headers: Mapping[str, str], body: bytes) -> Event:
    present = {name.lower()[3:]: value for name, value in headers.items() if name.lower().startswith("ce-")}
    content_type = _find_content_type(headers)
    try:
        attributes: dict[str, Any] = {name: _header_text(value) for name, value in present.items()}
    except UnicodeDecodeError as error:
        raise EventError(
            "a ce- header contains bytes that are not UTF-8", hint=("encode the text as UTF-8, then percent-encode it")
        ) from error
    if content_type:
        attributes["datacontenttype"] = content_type
    return build_event(attributes, body)


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _header_text(value: str) -> str:
    """Return a header's value as text: unquoted, then percent-decoded once (HTTP binding, section 3.1.3.2).

    Bytes beyond ASCII are accepted when they are UTF-8: the binding wants them percent-encoded, but Knative's broker
    and the SDKs for Go, Java and JavaScript send them raw. Python's HTTP libraries decode each such byte as the Latin-1
    character with its number.

    Raises:
        UnicodeDecodeError: When the raw or the percent-encoded bytes are not UTF-8.
    """
    if not value.isascii():
        with suppress(UnicodeEncodeError):  # text that can't come from a header of an HTTP message
            value = value.encode("latin-1").decode()
    if _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote(value, errors="strict")


def _decode_structured(body: bytes) -> Event:
    try:
        fields = parse_json(body)
    except ValueError as error:
        raise EventError(f"the body is not JSON: {str(error)[:200]}") from error
    return decode_fields(fields)


def decode_fields(fields: Any) -> Event:
    """Build the event from parsed JSON, either in structured mode or one event of a batch.

    Raises:
        EventError: When the fields are not a well-formed CloudEvents 1.0 event.
    """
    if not isinstance(fields, dict):
        raise EventError(f"a structured CloudEvent must be a JSON object, not a {type(fields).__name__}")
    fields = {name: value for name, value in fields.items() if value is not None}
    if "data" in fields and "data_base64" in fields:
        raise EventError("a CloudEvent must not contain both data and data_base64")
    attributes = {name: value for name, value in fields.items() if name not in ("data", "data_base64")}
    return build_event(attributes, _structured_data(fields))


def _structured_data(fields: Mapping[str, Any]) -> bytes:
    """Return the data as bytes (JSON event format, section 3.1)."""
    if "data_base64" in fields:
        try:
            # base64.b64decode does the same, but copies the text.
            return binascii.a2b_base64(fields["data_base64"], strict_mode=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise EventError(f"data_base64 is not base64: {error}") from error
    if "data" not in fields:
        return b""
    data, content_type = fields["data"], fields.get("datacontenttype")
    try:
        if isinstance(data, str) and not is_json(content_type if isinstance(content_type, str) else None):
            return data.encode()
        return render_json(data)
    except UnicodeEncodeError as error:
        raise EventError("the data contains an unpaired surrogate, which UTF-8 can't encode") from error
    except ValueError as error:
        raise EventError(f"the data is not JSON: {error}") from error


def _data_member(event: Event) -> dict[str, Any]:
    """Return the event's data as a JSON member: `data` for valid JSON, else `data_base64`; no member without data."""
    if not event.data:
        return {}
    if is_json(event.datacontenttype):
        try:
            value = parse_json(event.data)
            render_json(value)
        except ValueError:
            value = None
        if value is not None:  # null would mean that the event has no data
            return {"data": value}
    return {"data_base64": base64.b64encode(event.data).decode()}


def build_event(attributes: Mapping[str, Any], data: bytes) -> Event:
    """Build the event from received attributes after checking that they are well-formed.

    Raises:
        EventError: When they are not; the message names the missing attributes, or the first attribute that is wrong.
    """
    _check(attributes)
    texts = {name: value if isinstance(value, str) else _canonical(value) for name, value in attributes.items()}
    from eaves import (
        cloudevents_sdk,  # imported with the first event: many functions get no event before their first prediction
    )

    cloudevents_sdk.check(_typed(texts))
    return Event(
        id=texts["id"],
        source=texts["source"],
        type=texts["type"],
        data=data,
        datacontenttype=texts.get("datacontenttype"),
        subject=texts.get("subject"),
        time=texts.get("time"),
        dataschema=texts.get("dataschema"),
        extensions={name: value for name, value in texts.items() if name not in CONTEXT_ATTRIBUTES},
    )


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _canonical(value: str | int) -> str:
    """Return a JSON boolean or integer in its canonical string form (spec.md, type system)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check(attributes: Mapping[str, Any]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise EventError(f"the event has {len(attributes)} attributes; at most {MAX_ATTRIBUTES} are allowed")
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        raise EventError(f"missing required attribute(s): {', '.join(missing)}")
    if attributes["specversion"] != "1.0":
        raise EventError(f"specversion must be 1.0 (got {str(attributes['specversion'])[:16]!r})")
    for name, value in attributes.items():
        if name not in CONTEXT_ATTRIBUTES:
            _check_name(name)
        elif not isinstance(value, str):
            raise EventError(f"attribute {name} must be a string, not {type(value).__name__}")
        if isinstance(value, str):
            _check_text(name, value)
        elif not isinstance(value, int):
            raise EventError(f"attribute {name[:40]} must be a string, integer or boolean, not {type(value).__name__}")
        elif not MIN_INTEGER <= value <= MAX_INTEGER:
            raise EventError(f"attribute {name[:40]} must be from {MIN_INTEGER} to {MAX_INTEGER} (got {value})")
    if not attributes.get("datacontenttype", "").isascii():
        raise EventError(f"datacontenttype must be a media type (got {attributes['datacontenttype'][:40]!r})")


def _check_name(name: str) -> None:
    if not (name.isascii() and name.isalnum() and name == name.lower()):
        raise EventError(f"attribute name {name[:40]!r} must consist of a-z and 0-9")
    if len(name) > MAX_NAME:
        raise EventError(f"attribute name {name[:40]!r}... has more than {MAX_NAME} characters")


def _check_text(name: str, value: str) -> None:
    if value.isascii() and value.isprintable():
        size = len(value)
    elif _CONTROL.search(value):
        raise EventError(f"attribute {name[:40]} contains a control character")
    else:
        size = len(value.encode(errors="surrogatepass"))
    if size > MAX_ATTRIBUTE_BYTES:
        raise EventError(f"attribute {name[:40]} has more than {MAX_ATTRIBUTE_BYTES} bytes")


def _typed(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return attributes with the types that the SDK expects.

    Raises:
        EventError: When a text is not Unicode, or the time is not a timestamp.
    """
    for name, value in attributes.items():
        if not (name.isascii() and value.isascii()) and (_SURROGATE.search(name) or _SURROGATE.search(value)):
            raise EventError(f"attribute {name[:40]!r} contains an unpaired surrogate, which UTF-8 can't encode")
    values: dict[str, Any] = dict(attributes)
    if "time" in values:
        try:
            values["time"] = parse_timestamp(values["time"])
        except ValueError as error:
            raise EventError(f"time must be an RFC 3339 timestamp (got {values['time'][:40]!r})") from error
    return values
