"""The spec of a trigger: which events go to which receiver, and how they are delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eaves.base.names import NAME, NAME_PATTERN, OBJECT_OR_NONE
from eaves.config import setting
from eaves.delivery.sinks import SINKS, MqttTriggerSettings, find_scheme, load_sink
from eaves.events import IMAGE_CAPTURED
from eaves.platform.quantities import QUANTITY
from eaves.redact import redact

MAX_TIMEOUT_S = 600.0
"""Maximum time limit of an attempt. Source: knative/serving, config-defaults: max-revision-timeout-seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Delivery settings of a trigger, with the same meaning as a Knative Trigger's `delivery`."""

    retry: int = setting(
        6, "Number of retries after the first attempt, before the event becomes a dead letter.", minimum=0, maximum=100
    )
    backoff_s: float = setting(
        0.5, "Seconds before the first retry; the pause doubles with each retry.", minimum=0, maximum=60
    )
    backoff_cap_s: float = setting(
        30.0,
        "Maximum pause between two retries, in seconds, on the local platform. A cluster's "
        "Broker has no maximum; its pauses keep doubling.",
        minimum=0,
        maximum=3600,
    )
    timeout_s: float = setting(
        120.0,
        "Seconds that one attempt may take; it must exceed the cold start plus the time in the queue.",
        minimum=1,
        maximum=MAX_TIMEOUT_S,
    )
    dead_letter_sink: str = setting(
        "",
        "Receiver of dead letters, which have the extensions knativeerrordest, "
        "knativeerrorcode and knativeerrordata: an http(s) address, the name of a function, or "
        "the name of another trigger of the app, whose receiver gets them. If empty, a "
        "cluster's Broker drops dead letters, unless knative.dead_letter_sink or a relay gets "
        "them; the local platform keeps them (`eaves queue --dead`).",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        sink = self.dead_letter_sink
        if sink and not is_http(sink) and not NAME_PATTERN.fullmatch(sink):
            what = "an address that begins with http:// or https://, or the name of a function or a trigger"
            yield "dead_letter_sink", f"must be {what} (got {redact(sink)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSection(MqttTriggerSettings):
    """Settings for publishing to an MQTT broker: the section `mqtt` of a trigger whose url is mqtt:// or mqtts://."""

    secret: str = setting(
        "",
        "Secret with the credentials' files, which is mounted in place of `credentials`, on a cluster.",
        form=OBJECT_OR_NONE,
    )
    spool_size: str = setting(
        "1Gi",
        "Size of the volume that stores predictions while the MQTT broker does not answer, on a cluster. "
        "Slightly less than half of it is for waiting events, a tenth for dead letters, and the rest for the "
        "database's overhead.",
        form=QUANTITY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSpec:
    """Spec of a trigger: which events go to which receiver.

    Attributes:
        name: Name that is unique in the app.
        filter: Attribute to exact value; all must match. Empty: every event matches.
        filters: Filters with prefixes, suffixes and combinations (`eaves.platform.triggers`), in place of `filter`.
        function: Name of the function that receives the events; empty when `url` is set.
        url: Address that receives the events instead: an HTTP server, an MQTT broker with a topic, or a plug-in's sink.
        mqtt: How events are published, when `url` is an MQTT broker.
        delivery: Retries and time limits.
    """

    name: str = setting("", "Name of the trigger, unique within the app.", form=NAME)
    filter: dict[str, str] = setting(
        dict,
        "Event attributes with their exact values; an event must match all of "
        "them. An empty filter matches every event.",
    )
    filters: tuple[Mapping[str, Any], ...] = setting(
        (),
        "Filters as in the CloudEvents Subscriptions API, instead of `filter`; an event must "
        "pass all of them. Each filter is one of exact, prefix, suffix (attribute to text), "
        "all, any (a list of filters), not (a filter).",
        nested=True,
    )
    function: str = setting(
        "", "Name of the function that receives the events. The default is this function, if url is not set either."
    )
    url: str = setting(
        "",
        "Address that receives the events instead of a function: an http(s) address; "
        "mqtt://HOST[:PORT]/TOPIC (mqtts:// with TLS), whose topic may contain attributes of "
        "the event in braces, such as {label}; or, on one machine, dataset:///FOLDER, a folder of labelled images "
        "that the images among the events are put into.",
    )
    mqtt: MqttSection = setting(
        MqttSection, "Settings for publishing the events, if url is the address of an MQTT broker."
    )
    delivery: DeliverySettings = setting(DeliverySettings, "Retries and time limits of the delivery.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        yield from find_exact_faults(self.filter)
        yield from find_filter_faults(self.filters)
        if self.filter and self.filters:
            yield "filters", "can't be set together with filter, because it replaces filter"
        if self.delivery.dead_letter_sink == self.name:
            yield "delivery.dead_letter_sink", "can't be the trigger itself"
        if self.function and self.url:
            yield "url", "can't be set together with function"
        if self.needs_publisher:
            yield from load_sink(self.url).find_faults(self.url, self.mqtt)
            return
        if self.url and not is_http(self.url):
            *known, last = (f"{scheme}://" for scheme in ("http", "https", *SINKS.names()))
            yield "url", f"must begin with {', '.join(known)} or {last} (got {redact(self.url)!r})"
        if self.mqtt != MqttSection():
            yield "mqtt", f"needs a url that begins with mqtt:// or mqtts:// (got {redact(self.url)!r})"

    @property
    def needs_publisher(self) -> bool:
        """Whether the url isn't HTTP's, so that a sink of `eaves.delivery.sinks` delivers the events."""
        return not is_http(self.url) and find_scheme(self.url) in SINKS.names()


def find_dead_letter_target(trigger: TriggerSpec, triggers: Iterable[TriggerSpec]) -> TriggerSpec | None:
    """Return a trigger that describes the dead letter sink of another trigger.

    Args:
        trigger: The trigger whose dead letters are sent.
        triggers: All triggers of the app, whose names refer to their receivers. Any other name refers to a function.

    Returns:
        A trigger with the sink as its receiver; None when the trigger names no dead letter sink.
    """
    sink, delivery = trigger.delivery.dead_letter_sink, trigger.delivery
    if not sink:
        return None
    if is_http(sink):
        return TriggerSpec(name=trigger.name, url=sink, delivery=delivery)
    named = [one for one in triggers if one.name == sink]
    return named[0] if named else TriggerSpec(name=trigger.name, function=sink, delivery=delivery)


def is_http(address: str) -> bool:
    """Return whether an address is that of an HTTP server."""
    return address.startswith(("http://", "https://"))


def default_trigger(
    function: str, *, captured: str = IMAGE_CAPTURED, start_timeout_s: float | None = None
) -> TriggerSpec:
    """Build the trigger from captured events to a function. Its type filter keeps the function's replies from looping.

    Args:
        function: Name of the function.
        captured: Type of the events.
        start_timeout_s: Seconds that a replica may take to start; an attempt may take twice that, because the event
            also waits in a queue.
    """
    delivery = replace(DeliverySettings(), timeout_s=find_timeout_s(start_timeout_s or 0.0))
    return TriggerSpec(name=function, filter={"type": captured}, function=function, delivery=delivery)


def find_timeout_s(start_timeout_s: float) -> float:
    """Return the seconds that one attempt to get a prediction may take.

    Args:
        start_timeout_s: Seconds that a replica may take to start; an attempt may take twice that, because the event
            also waits in a queue.
    """
    return min(MAX_TIMEOUT_S, max(DeliverySettings().timeout_s, 2 * start_timeout_s))


# Filters as the CloudEvents Subscriptions API defines them and a Knative Trigger accepts them, without CESQL. Source:
# CloudEvents, subscriptions/spec.md, section 3.2.4; Knative Eventing, pkg/eventfilter/subscriptionsapi.
MATCHES, COMBINATIONS, NEGATION = ("exact", "prefix", "suffix"), ("all", "any"), "not"
DIALECTS = (*MATCHES, *COMBINATIONS, NEGATION)
MAX_DEPTH = 10
"""Maximum nesting of filters; deeper nesting is taken for a mistake."""

Filter = Mapping[str, Any]
Attributes = Mapping[str, str]


def matches_all(attributes: Attributes, exact: Attributes, filters: Sequence[Filter]) -> bool:
    """Return whether an event passes a trigger; as on Knative, `filters` replaces `filter` when it is not empty.

    Args:
        attributes: The event's attributes by name.
        exact: The trigger's `filter`: attribute to its value; an empty value only requires the attribute to be present.
        filters: The trigger's `filters`; every one must pass.
    """
    if filters:
        return all(_matches(attributes, one) for one in filters)
    return all(name in attributes and wanted in ("", attributes[name]) for name, wanted in exact.items())


def find_filter_faults(filters: Sequence[Any], path: str = "filters", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Return the path and message of every fault in filters."""
    for index, one in enumerate(filters):
        yield from _find_faults(one, f"{path}[{index}]", depth)


def find_exact_faults(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the path and message of every fault in a trigger's `filter`, whose values may be empty."""
    for name, value in values.items():
        if not _is_text(value):
            yield f"filter.{name}", f"must be a string (got {value!r:.80})"


def rewrite_matches(filters: Sequence[Filter], change: Callable[[str, str, str], Filter]) -> list[dict[str, Any]]:
    """Return the filters with each comparison replaced by the result of `change(dialect, attribute, value)`."""
    return [_rewrite(one, change) for one in filters]


def _matches(attributes: Attributes, one: Filter) -> bool:
    ((dialect, inner),) = one.items()
    if dialect == "all":
        return all(_matches(attributes, part) for part in inner)
    if dialect == "any":
        return any(_matches(attributes, part) for part in inner)
    if dialect == NEGATION:
        return not _matches(attributes, inner)
    return all(name in attributes and _compare(dialect, attributes[name], wanted) for name, wanted in inner.items())


def _compare(dialect: str, value: str, wanted: str) -> bool:
    if dialect == "prefix":
        return value.startswith(wanted)
    return value.endswith(wanted) if dialect == "suffix" else value == wanted


def _find_faults(one: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        yield path, f"must not be nested more than {MAX_DEPTH} deep"
        return
    if not isinstance(one, Mapping) or len(one) != 1 or (dialect := next(iter(one))) not in DIALECTS:
        found = ", ".join(map(str, one)) if isinstance(one, Mapping) else repr(one)
        yield path, f"must have exactly one of {', '.join(DIALECTS)} (got {found[:80] or 'nothing'})"
        return
    inner, below = one[dialect], f"{path}.{dialect}"
    if dialect == NEGATION:
        yield from _find_faults(inner, below, depth + 1)
    elif dialect in COMBINATIONS:
        if not isinstance(inner, list | tuple) or not inner:
            yield below, "must be a list with at least one filter"
            return
        yield from find_filter_faults(inner, below, depth + 1)
    elif not isinstance(inner, Mapping) or not inner:
        yield below, "must have at least one attribute with its value"
    else:
        for name, value in inner.items():
            if not (isinstance(name, str) and name.isascii() and name.isalnum() and name == name.lower()):
                yield below, f"the name of an attribute must be of a-z and 0-9 only (got {str(name)[:40]!r})"
            elif not _is_text(value) or not value:
                yield f"{below}.{name}", f"must be a string that is not empty (got {value!r:.80})"


def _is_text(value: Any) -> bool:
    """Return whether a value is text that an event attribute can have; text with a lone surrogate isn't."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _rewrite(one: Filter, change: Callable[[str, str, str], Filter]) -> dict[str, Any]:
    ((dialect, inner),) = one.items()
    if dialect == NEGATION:
        return {dialect: _rewrite(inner, change)}
    if dialect in COMBINATIONS:
        return {dialect: rewrite_matches(inner, change)}
    parts = [dict(change(dialect, name, value)) for name, value in inner.items()]
    return parts[0] if len(parts) == 1 else {"all": parts}
