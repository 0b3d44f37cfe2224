"""What observed changes say about a start."""

from __future__ import annotations

from typing import Any

from knative.cold_start.observer import ObservedChange
from knative.cold_start.timeline import build_timeline

SENT = 100.0


def pod(at: float, name: str, kind: str = "ADDED", **spec: str) -> ObservedChange:
    return ObservedChange(at_s=at, type=kind, object={"metadata": {"name": name}, "spec": spec})


def event(at: float, name: str, reason: str, container: str = "") -> ObservedChange:
    about: dict[str, Any] = {"name": name} | ({"fieldPath": f"spec.containers{{{container}}}"} if container else {})
    return ObservedChange(at_s=at, type="ADDED", object={"reason": reason, "involvedObject": about})


def test_a_pod_is_followed_to_both_containers() -> None:
    changes = [
        pod(99.0, "old"),
        pod(100.1, "new"),
        event(100.2, "new", "Scheduled"),
        pod(100.3, "new", "MODIFIED", nodeName="node1"),
        event(100.4, "other", "Pulled", "function"),
        event(100.5, "new", "Pulling", "function"),
        event(101.0, "new", "Pulled", "function"),
        event(101.2, "new", "Started", "function"),
        event(101.3, "new", "Pulled", "queue-proxy"),
    ]
    found = build_timeline(changes, "function", SENT)
    assert found is not None
    assert (found.pod, found.pulled, found.complete, found.started_s) == ("new", True, False, 101.2)
    assert found.ends_s == {"autoscaling": 100.1, "scheduling": 100.2, "sandbox": 100.5, "image": 101.0}
    whole = build_timeline([*changes, event(101.5, "new", "Started", "queue-proxy")], "function", SENT)
    assert whole is not None
    assert whole.complete
    assert whole.ends_s["sidecar"] == 101.5


def test_an_image_that_the_node_has_is_not_pulled() -> None:
    found = build_timeline([pod(100.1, "new"), event(100.5, "new", "Pulled", "function")], "function", SENT)
    assert found is not None
    assert not found.pulled
    assert found.ends_s == {"autoscaling": 100.1, "sandbox": 100.5, "image": 100.5}


def test_nothing_is_known_before_there_is_a_pod() -> None:
    assert build_timeline([pod(99.0, "old"), pod(100.5, "old", "MODIFIED")], "function", SENT) is None
