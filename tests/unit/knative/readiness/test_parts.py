"""Why a part of an app beside its function isn't ready: what objects, pods and Events say, one situation a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from knative.client.kinds import BROKER, DAEMON_SET, TRIGGER
from knative.diagnosis import CAUSES
from knative.diagnosis.evidence import Diagnosis, PartEvidence
from knative.readiness.part_reader import wanted_parts
from knative.readiness.parts import FAILED, READY, STARTING, AppPart, judge_part, missing_part
from knative.readiness.wait_limit import WaitLimit
from knative.resources.rendering import render_app
from tests.cluster.apps import full_app, full_settings, plain_site
from tests.cluster.expanded import condition

NOW = 1795600980.0
"""2026-11-25T10:03:00Z."""
JUST, MINUTES_AGO, HOUR_AGO = "2026-11-25T10:02:58Z", "2026-11-25T10:01:00Z", "2026-11-25T09:03:00Z"
NAMES = {"Trigger": "eventing.knative.dev/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}
NAMES |= {"ContainerSource": "sources.knative.dev/v1"}


def part(kind: str, *conditions: Any, component: str = "source", spec: Any = None, **status: Any) -> dict[str, Any]:
    labels = {"eaves.dev/app": "flowers", "app.kubernetes.io/component": component, "eaves.dev/source": "inbox"}
    metadata = {"name": "flowers-inbox", "namespace": "barn", "generation": 2, "uid": "u", "labels": labels}
    metadata["managedFields"] = [{"manager": "eaves", "operation": "Apply", "time": MINUTES_AGO}]
    reported = {"observedGeneration": 2, **({"conditions": list(conditions)} if conditions else {}), **status}
    return {"apiVersion": NAMES[kind], "kind": kind, "metadata": metadata, "spec": spec or {}, "status": reported}


def stateful_set(ready: int = 0, **status: Any) -> dict[str, Any]:
    return part("StatefulSet", spec={"replicas": 1}, replicas=1, readyReplicas=ready, **status)


def pod(*, ready: bool = False, started: str = "", ended: str = "", restarts: int = 0, **more: Any) -> dict[str, Any]:
    state: dict[str, Any] = (
        {"running": {"startedAt": started}} if started else {"waiting": {"reason": "CrashLoopBackOff"}}
    )
    last = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": ended}} if ended else {}
    status = {"name": "agent", "ready": ready, "restartCount": restarts, "state": state, "lastState": last}
    states = [condition("Ready", "True" if ready else "False", since=MINUTES_AGO)]
    spec = {"nodeName": "edge-1", "containers": [{"name": "agent", "image": "r.test/agent@sha256:" + "0" * 64}]}
    metadata = {"name": "flowers-inbox-0", "namespace": "barn", **more}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": states, "containerStatuses": [status]}}


def judge(
    value: dict[str, Any], *pods: Any, events: Sequence[Any] = (), steady: bool = True, now: float = NOW
) -> AppPart:
    names = frozenset(str(one["metadata"]["name"]) for one in pods) if steady else frozenset()
    found = judge_part(PartEvidence(value=value, pods=pods, events=events, steady=names, now=now))
    assert found.diagnosis is None or found.diagnosis.cause in CAUSES
    return found


def cause(found: AppPart) -> str:
    assert found.diagnosis is not None
    return found.diagnosis.cause


def test_what_is_ready() -> None:
    running = pod(ready=True, started=HOUR_AGO)
    for value in (
        part("Trigger", condition("Ready", "True")),
        stateful_set(1),
        part("DaemonSet", desiredNumberScheduled=2, updatedNumberScheduled=2, numberReady=2),
        part("ContainerSource", condition("Ready", "True")),
    ):
        found = judge(value, running)
        assert (found.state, found.reason, found.since) == (READY, "", None)


def test_a_process_that_has_just_been_started_is_not_ready_yet() -> None:
    found = judge(stateful_set(1), pod(ready=True, started=JUST), steady=False)
    assert (found.state, found.detail, found.pods) == (STARTING, "its pod has run for less than 10 s", "1/1")


@pytest.mark.parametrize(
    ("restarts", "started", "ended", "state"),
    [
        (1, JUST, JUST, FAILED),
        (3, MINUTES_AGO, MINUTES_AGO, FAILED),
        (1, MINUTES_AGO, MINUTES_AGO, READY),
        (9, HOUR_AGO, HOUR_AGO, READY),
    ],
)
def test_one_that_ends_again_and_again_is_not_ready_between_two_ends(
    restarts: int, started: str, ended: str, state: str
) -> None:
    found = judge(stateful_set(1), pod(ready=True, started=started, ended=ended, restarts=restarts))
    assert found.state == state
    if state == FAILED:
        assert cause(found) == "crash"
        assert found.diagnosis is not None
        assert found.diagnosis.fix == "eaves logs flowers.inbox --on knative"


def test_since_when_is_said() -> None:
    found = judge(stateful_set(), pod(ended=JUST, restarts=4))
    assert found.since == NOW - 120
    assert judge(stateful_set()).since == NOW - 120, "without a pod, since it was applied"


def test_a_pod_of_the_version_before_may_be_in_the_way() -> None:
    old = pod(ended=JUST, restarts=4, labels={"controller-revision-hash": "a"})
    found = judge(stateful_set(updateRevision="b", currentRevision="a"), old)
    assert found.diagnosis is not None
    assert "has the previous version" in found.diagnosis.message
    assert (found.diagnosis.fix, found.diagnosis.final) == ("kubectl -n barn delete pod flowers-inbox-0", False)
    new = judge(stateful_set(updateRevision="a", currentRevision="a"), old)
    assert new.diagnosis is not None
    assert new.diagnosis.final


def test_pods_that_are_still_of_the_version_before() -> None:
    value = part("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=1, numberReady=3)
    assert judge(value).detail == "1 of 3 pods have the version that was deployed last"
    value = stateful_set(1, updateRevision="b", currentRevision="a")
    assert judge(value).detail == "0 of 1 pods have the version that was deployed last"


def test_nodes_without_a_ready_pod_are_named() -> None:
    value = part("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=2)
    assert judge(value, pod(started=HOUR_AGO)).detail == "2 of 3 pods are ready, not on edge-1"


def test_an_agent_that_no_node_may_run() -> None:
    spec = {"template": {"spec": {"nodeSelector": {"place": "barn"}}}}
    found = judge(part("DaemonSet", spec=spec, desiredNumberScheduled=0, numberReady=0))
    assert cause(found) == "unschedulable"
    assert "no node has the labels place=barn" in found.reason
    kept = part("DaemonSet", component="pin", spec=spec, desiredNumberScheduled=0, numberReady=0)
    assert judge(kept).state == READY, "there is nothing to keep a container image on"


def test_a_pod_that_may_not_be_made_is_in_the_events_only() -> None:
    text = 'pods "flowers-inbox-0" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes'
    reported = {"reason": "FailedCreate", "message": text, "involvedObject": {"name": "flowers-inbox"}}
    found = judge(stateful_set(), events=[reported])
    assert found.state == FAILED
    assert "the Pod Security level restricted:latest" in found.reason


def test_an_agents_container_image_is_set_elsewhere_than_a_functions() -> None:
    waiting = pod()
    waiting["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}
    }
    found = judge(stateful_set(), waiting)
    assert found.diagnosis is not None
    assert "knative.agent_image" in found.diagnosis.fix


@pytest.mark.parametrize(
    ("kind", "cause_", "begins"),
    [
        ("BrokerReady", "broker", "its Broker is missing or not ready: it is gone"),
        ("SubscriberResolved", "destination", "its subscriber can't be resolved: it is gone"),
        ("DeadLetterSinkResolved", "destination", "its dead letter sink can't be resolved: it is gone"),
        ("SubscriptionReady", "refused", "its condition SubscriptionReady is False: it is gone"),
    ],
)
def test_conditions_that_keep_a_trigger_from_being_ready(kind: str, cause_: str, begins: str) -> None:
    states = condition("DependencyReady", "Unknown"), condition(kind, "False", "NotFound", "it is gone")
    found = judge(part("Trigger", *states, condition("Ready", "False", since=MINUTES_AGO)))
    assert (cause(found), found.reason, found.since) == (cause_, begins, NOW - 120)


@pytest.mark.parametrize("kind", ["SubscriberResolved", "DeadLetterSinkResolved"])
def test_a_trigger_that_was_looked_at_before_its_function_had_an_address_is_waited_for(kind: str) -> None:
    text = "address not set for Kind = Service, Namespace = barn, Name = flowers"
    states = condition(kind, "False", "Unable to get the Subscriber's URI", text), condition("Ready", "False")
    found = judge(part("Trigger", *states))
    assert (found.state, found.diagnosis) == (STARTING, None)
    assert found.detail.endswith(text)


def test_a_condition_that_is_only_not_known_yet_is_waited_for() -> None:
    states = condition("SubscriptionReady", "Unknown", "", "the channel is being made"), condition("Ready", "Unknown")
    found = judge(part("Trigger", *states))
    assert (found.state, found.detail) == (STARTING, "the channel is being made")


def test_a_condition_with_a_severity_is_no_reason() -> None:
    aside = {**condition("Cosmetic", "False", "", "never mind"), "severity": "Info"}
    found = judge(part("Trigger", aside, condition("Ready", "False", "Whatever", "the true reason")))
    assert found.reason == "it is not ready: the true reason"


def test_an_object_that_its_controller_has_not_looked_at() -> None:
    value = part("Trigger", condition("Ready", "True"), observedGeneration=1)
    found = judge(value)
    assert (found.state, cause(found)) == (FAILED, "controller")
    assert "120 s ago" in found.reason
    assert judge(value, now=NOW - 115).state == STARTING
    assert judge(value, now=0.0).state == STARTING, "nobody knows what time it is"


def test_the_parts_of_an_app_are_those_that_can_be_ready_and_the_broker() -> None:
    site = plain_site(namespace="cams")
    manifests = render_app(full_app(), full_settings(create_broker=False), site)
    found = wanted_parts(manifests, "cams")
    assert found[0] == (BROKER, "eaves", "cams")
    assert (DAEMON_SET, "flowers-cams-camera", "eaves-agents") in found
    assert not any(name.startswith("flowers-pin") for _, name, _ in found)
    assert {kind.kind for kind, _, _ in found} == {
        *("Broker", "Trigger", "EventType", "SinkBinding", "StatefulSet", "DaemonSet", "ContainerSource")
    }


def wrong(cause_: str = "broker", *, final: bool = False) -> AppPart:
    found = Diagnosis(cause=cause_, message="m", fix="f", final=final)
    return AppPart(kind="Trigger", name="a", namespace="barn", state=FAILED, diagnosis=found)


def test_what_stays_wrong_ends_the_wait() -> None:
    patience = WaitLimit(certain_s=1, patience_s=60)
    assert patience.find_hopeless([wrong()], 0, function_ready=True) is None
    assert patience.find_hopeless([wrong("destination")], 50, function_ready=True) is None, "another cause"
    assert patience.find_hopeless([wrong("destination")], 109, function_ready=True) is None
    assert patience.find_hopeless([wrong("destination")], 110, function_ready=True) is not None


def test_what_waits_for_the_function_is_not_blamed() -> None:
    patience = WaitLimit(certain_s=1, patience_s=60)
    for now in (0, 100, 200):
        assert patience.find_hopeless([wrong()], now, function_ready=False) is None
    assert patience.find_hopeless([wrong()], 201, function_ready=True) is None, "it has just become ready"
    assert patience.find_hopeless([wrong()], 261, function_ready=True) is not None


def test_what_cannot_come_right_ends_it_at_the_second_look() -> None:
    patience = WaitLimit(certain_s=1, patience_s=60)
    assert patience.find_hopeless([wrong(final=True)], 0, function_ready=False) is None
    assert patience.find_hopeless([wrong(final=True)], 2, function_ready=False) is not None


def test_what_is_missing_says_how_it_comes_back() -> None:
    assert missing_part(BROKER, "eaves", "barn").reason == "it does not exist in the namespace barn"
    found = missing_part(TRIGGER, "flowers", "barn").diagnosis
    assert found is not None
    assert found.fix == "eaves deploy --on knative"
