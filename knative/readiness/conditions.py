"""Readiness of parts by their own conditions: Broker, Trigger, EventType, SinkBinding, JobSink.

Source: Knative Eventing 1.22, pkg/apis/eventing/v1/{broker,trigger}_lifecycle.go, v1beta3/eventtype_lifecycle.go,
pkg/apis/sources/v1/{sinkbinding,container}_lifecycle.go, pkg/apis/sinks/v1alpha1/job_sink_lifecycle.go;
knative.dev/pkg, apis/condition_types.go (a condition with a severity doesn't keep an object from being ready).
"""

from __future__ import annotations

from knative.client.kinds import TRIGGER
from knative.diagnosis.evidence import Diagnosis, Object, PartReadiness, condition, name_of, parse_time, quote

DESTINATION = "destination"
"""Value of `Diagnosis.cause` when a part names a subscriber or sink that can't be resolved."""
_BROKER, _REFUSED = "broker", "refused"
_MEANINGS = {
    "BrokerReady": (_BROKER, "its Broker is missing or not ready"),
    "ReferenceExists": (_BROKER, "its Broker is missing"),
    "SubscriberResolved": (DESTINATION, "its subscriber can't be resolved"),
    "DeadLetterSinkResolved": (DESTINATION, "its dead letter sink can't be resolved"),
    "SinkProvided": (DESTINATION, "its sink can't be resolved"),
    "SinkBindingReady": (DESTINATION, "its sink can't be resolved"),
}
"""Cause and meaning of a condition that isn't true, by the type of the condition."""
_UNADDRESSED = "address not set"
"""Text of a Trigger's condition when its subscriber existed and had no address yet. It says nothing about the present:
a busy controller may look at the Trigger again minutes after the subscriber has its address.
Source: knative.dev/pkg, resolver/addressable_resolver.go; seen with Eventing 1.22."""
_FIXES = {
    _BROKER: "eaves doctor",
    DESTINATION: "deploy the object that it names, or change the name in eaves.yaml",
    _REFUSED: "eaves doctor",
}


def judge_conditions(value: Object) -> PartReadiness:
    """Return the readiness of an object from its conditions."""
    ready = condition(value, "Ready")
    if ready.get("status") == "True":
        return PartReadiness()
    since = parse_time(ready.get("lastTransitionTime"))
    worst = _find_worst(value) or ready
    message = quote(str(worst.get("message") or worst.get("reason") or ""))
    if worst.get("status") != "False":
        return PartReadiness(detail=message or "it is not ready yet", since=since)
    kind = str(worst.get("type", ""))
    cause, meaning = _MEANINGS.get(
        kind, (_REFUSED, f"its condition {kind} is False" if worst is not ready else "it is not ready")
    )
    if value["kind"] == TRIGGER.kind and cause == DESTINATION and _UNADDRESSED in message:
        return PartReadiness(detail=f"{meaning} yet: {message}", since=since)
    metadata = value["metadata"]
    describe = f"kubectl -n {metadata.get('namespace')} describe {str(value['kind']).lower()} {name_of(value)}"
    found = Diagnosis(
        cause=cause,
        message=f"{meaning}: {message}" if message else meaning,
        fix=f"{_FIXES[cause]}; {describe}",
        final=False,
    )
    return PartReadiness(diagnosis=found, since=since)


def _find_worst(value: Object) -> Object | None:
    """Return the condition that keeps an object from being ready; a False one is preferred to an unknown one."""
    found = [
        one
        for one in value.get("status", {}).get("conditions") or ()
        if one.get("type") != "Ready" and one.get("status") != "True" and not one.get("severity")
    ]
    return min(found, key=lambda one: one.get("status") != "False", default=None)
