"""Warnings about event attributes that a trigger names although no event has them.

A filter with the name of such an attribute never matches an event, and an MQTT topic with it always has the level
`unknown`.

The names are not refused, because events of other programs may have any attribute.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from eaves.cli.display.output import say
from eaves.delivery.mqtt.settings import find_names
from eaves.events import (
    CONTEXT_ATTRIBUTES,
    DATASET_UPDATED,
    IMAGE_CAPTURED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_REJECTED,
    MODEL_PUBLISHED,
    TENSOR_CAPTURED,
    TENSOR_PREDICTED,
    TYPE_PREFIX,
)
from eaves.platform import RelaySpec, TriggerSpec
from eaves.platform.filters import list_names

_CONTEXT = ("id", "source", "type", "subject", "time", "datacontenttype")
_PASSED_ON = ("partitionkey", "datadigest", "sequence", "traceparent", "tracestate")
_CAPTURED = (*_CONTEXT, *_PASSED_ON, "crop", "scaledto", "reencoded", "senderid", "sendersource")
_REPLIED = (*_CONTEXT, *_PASSED_ON, "causeid", "causesource", "model", "modelversion")
_KINDS = {
    IMAGE_CAPTURED: ("a captured image", _CAPTURED),
    TENSOR_CAPTURED: ("a captured tensor", _CAPTURED),
    IMAGE_CLASSIFIED: ("a prediction", (*_REPLIED, "label", "confidence")),
    IMAGE_EMBEDDED: ("an embedding", _REPLIED),
    TENSOR_PREDICTED: ("a prediction", (*_REPLIED, "label", "confidence")),
}
"""Event type to the words for it in messages, and to the attributes that events of the type may have."""
_TYPES = (*_KINDS, IMAGE_REJECTED, DATASET_UPDATED, MODEL_PUBLISHED)
_ANY = ("an event of Eaves", tuple(dict.fromkeys(name for _, names in _KINDS.values() for name in names)))
_SYNONYMS = {"camera": "partitionkey", "version": "modelversion", "file": "subject", "path": "subject"}
"""Wrong attribute name that people may write to the attribute that they mean, such as `camera` to `partitionkey`."""
_OF_BROKERS = re.compile(r"knative[a-z0-9]*")
"""Pattern of attributes that Knative's brokers add, such as knativearrivaltime and knativebrokerttl. Source:
knative/eventing, pkg/broker and pkg/kncloudevents."""


def warn_of_attributes(triggers: Iterable[TriggerSpec], origin: str, *, relay: RelaySpec | None = None) -> None:
    """Print a warning for each event attribute that a file's triggers and alarms name although no event has it."""
    found = [
        warning
        for number, trigger in enumerate(triggers)
        for warning in find_attribute_warnings(trigger, f"{origin}: triggers[{number}]")
    ]
    for number, alarm in enumerate(relay.alarms if relay is not None else ()):
        found += find_name_warnings(alarm, [(f"[{number}].{name}", name) for name in alarm], f"{origin}: relay.alarms")
    for warning in found:
        say(f"warning: {warning}")


def find_attribute_warnings(trigger: TriggerSpec, prefix: str) -> Iterator[str]:
    """Yield a warning for each attribute that a trigger names and that no event selected by its filter has.

    Names are checked in the trigger's filters and in its MQTT topic. The attributes of event types that aren't Eaves'
    own are not known, so a trigger for such a type gets no warning.

    Args:
        trigger: The trigger.
        prefix: Text before the setting's path, such as `eaves.yaml: triggers[0]`.
    """
    used = [(f".filter.{name}", name) for name in trigger.filter]
    used += [(f".{path}", name) for path, name in list_names(trigger.filters)]
    used += [(".url", name) for name in (find_names(trigger.url) if trigger.is_mqtt else ())]
    yield from find_name_warnings(trigger.filter, used, prefix)


def find_name_warnings(filter_: Mapping[str, str], used: Sequence[tuple[str, str]], prefix: str) -> Iterator[str]:
    """Yield a warning for each named attribute that no event selected by a filter has.

    Args:
        filter_: Attribute to the value that a selected event has.
        used: Path of a setting below the prefix, and the attribute that it names; this includes the filter's names.
        prefix: Text before the setting's path.
    """
    wanted = filter_.get("type", "")
    if wanted.startswith(TYPE_PREFIX) and wanted not in _TYPES:
        place = next(place for place, name in used if name == "type")
        yield f"{prefix}{place}: no event has the type {wanted}; {_suggest(wanted, _TYPES)}"
    if wanted in _KINDS or not wanted:
        kind, known = _KINDS.get(wanted, _ANY)
        for place, name in used:
            if name not in {*known, *CONTEXT_ATTRIBUTES} and not _OF_BROKERS.fullmatch(name):
                yield f"{prefix}{place}: {kind} has no attribute {name}; {_suggest(name, known)}"


def _suggest(name: str, known: Collection[str]) -> str:
    near = [_SYNONYMS[name]] if _SYNONYMS.get(name) in known else difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
