"""Containers that can't be started, end, or run and say why they aren't ready."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from knative.diagnosis import CAUSES, Diagnosis, FunctionEvidence, diagnose_function
from tests.cluster.expanded import (
    POD,
    container,
    ended,
    event,
    failed_revision,
    failed_service,
    pod,
    revision,
    service,
    waiting,
)


def explain(
    *containers: Mapping[str, Any],
    memory: str = "",
    logs: Sequence[str] = (),
    readiness: Mapping[str, Any] | None = None,
    events: Sequence[Mapping[str, Any]] = (),
) -> Diagnosis | None:
    found = diagnose_function(
        FunctionEvidence(
            service=service(),
            revision=revision(memory=memory),
            pods=[pod(*map(dict, containers))],
            logs={POD: logs},
            readiness={} if readiness is None else {POD: readiness},
            events=events,
        )
    )
    assert found is None or found.cause in CAUSES
    return found


def found(*containers: Mapping[str, Any], **more: Any) -> Diagnosis:
    seen = explain(*containers, **more)
    assert seen is not None
    return seen


def test_a_pod_that_is_being_set_up_is_only_slow() -> None:
    assert explain(waiting("ContainerCreating")) is None
    assert explain(container()) is None


def test_a_crash_is_reported_with_the_last_lines() -> None:
    lines = ["loading", "Traceback (most recent call last):", "ValueError: bad label"]
    seen = found(ended(1), logs=lines)
    assert (seen.cause, seen.final) == ("crash", False)
    assert seen.message == (
        "the process ended with exit code 1: loading | Traceback (most recent call last): | ValueError: bad label"
    )
    assert seen.fix == f"kubectl logs --previous -n barn {POD} -c user-container"


def test_a_crash_is_certain_after_three_restarts() -> None:
    seen = found(ended(1, message="boom", restarts=3))
    assert seen.final
    assert seen.message == "the process ended with exit code 1, 3 times: boom"


def test_a_process_that_can_only_fail_again_is_not_waited_for() -> None:
    assert found(ended(78, message="error: EAVES_CONCURRENCY: must be a number", restarts=0)).final


def test_a_process_that_wrote_nothing() -> None:
    assert found(ended(3)).message == "the process ended with exit code 3, and wrote no log"


def test_out_of_memory_names_the_setting_and_twice_the_limit() -> None:
    seen = found(ended(137, reason="OOMKilled"), memory="512Mi")
    assert (seen.cause, seen.final) == ("memory", True)
    assert seen.message == "the process was killed because it used more memory than allowed (512Mi)"
    assert seen.fix == "set knative.memory_limit in eaves.yaml to 1Gi, then: eaves deploy --on knative"


def test_killed_without_a_word_is_most_likely_memory() -> None:
    assert "most likely" in found(ended(137)).message
    assert found(ended(137)).cause == "memory"


def test_a_container_image_for_another_processor() -> None:
    for seen in (
        found(ended(255, message="exec /usr/bin/python: exec format error")),
        found(ended(1), logs=["exec /usr/local/bin/python: exec format error"]),
        found(waiting("RunContainerError", "exec: exec format error: unknown")),
    ):
        assert (seen.cause, seen.final) == ("image", True)
        assert "--platform linux/arm64" in seen.fix


RUNC = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to "
    'start container process: exec: "python": executable file not found in $PATH: unknown'
)


@pytest.mark.parametrize("reason", ["RunContainerError", "StartError", "CreateContainerError"])
def test_a_container_without_its_command(reason: str) -> None:
    status = ended(128, reason=reason, message=RUNC) if reason == "StartError" else waiting(reason, RUNC)
    seen = found(status)
    assert (seen.cause, seen.final) == ("configuration", True)
    assert "executable file not found in $PATH" in seen.message


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        ('secret "tokens" not found', "kubectl -n barn get secret tokens"),
        ('configmap "labels" not found', "kubectl -n barn get configmap labels"),
        ("couldn't find key token in Secret barn/tokens", "kubectl -n barn get secret tokens"),
    ],
)
def test_what_a_container_refers_to_and_is_not_there(message: str, fix: str) -> None:
    seen = found(waiting("CreateContainerConfigError", message))
    assert (seen.cause, seen.final) == ("configuration", False)
    assert fix in seen.fix


@pytest.mark.parametrize(
    "message",
    [
        "container has runAsNonRoot and image will run as root (pod: x, container: user-container)",
        "container's runAsUser breaks non-root policy (pod: x, container: user-container)",
        "container has runAsNonRoot and image has non-numeric user (eaves), cannot verify user is non-root",
    ],
)
def test_a_container_image_that_wants_to_be_root(message: str) -> None:
    seen = found(waiting("CreateContainerConfigError", message))
    assert (seen.cause, seen.final) == ("configuration", True)


def test_the_functions_own_words_count() -> None:
    problem = {
        "type": "urn:eaves:problem:golden",
        "status": 503,
        "detail": "golden image 3: logits differ by 0.4",
        "hint": "eaves verify ARTIFACT",
    }
    seen = found(container(), readiness=problem)
    assert (seen.cause, seen.final) == ("function", True)
    assert seen.message == "the function reports: golden image 3: logits differ by 0.4"
    assert seen.fix == "eaves verify ARTIFACT"


@pytest.mark.parametrize("kind", ["loading", "stopped"])
def test_a_function_that_loads_or_ends_is_waited_for(kind: str) -> None:
    assert (
        explain(container(), readiness={"type": f"urn:eaves:problem:{kind}", "detail": "the model is still loading"})
        is None
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_where_nobody_may_ask_the_function_its_log_tells(as_json: bool) -> None:
    text = "never ready: labels.txt was altered (try: eaves package it again)"
    line = json.dumps({"level": "error", "message": text}) if as_json else f"2026-11-25 09:53:00,000 ERROR {text}"
    seen = found(container(), logs=["starting", line, "{not json", "something else"])
    assert (seen.cause, seen.final) == ("function", True)
    assert seen.message == "the function reports: labels.txt was altered"
    assert seen.fix == "eaves package it again"


def test_a_volume_that_cannot_be_mounted_is_in_the_events_only() -> None:
    events = [event("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "nosuch" not found')]
    seen = found(waiting("ContainerCreating"), events=events)
    assert (seen.cause, seen.final) == ("configuration", False)
    assert 'configmap "nosuch" not found' in seen.message
    assert seen.fix == f"kubectl -n barn describe pod {POD}"


def test_a_node_that_cannot_set_pods_up() -> None:
    events = [event("FailedCreatePodSandBox", "Failed to create pod sandbox: plugin type=bridge failed")]
    assert found(waiting("ContainerCreating"), events=events).cause == "configuration"


def test_a_pod_that_was_put_out() -> None:
    out = pod()
    out["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    seen = diagnose_function(FunctionEvidence(service=service(), revision=revision(), pods=[out]))
    assert seen is not None
    assert (seen.cause, seen.final) == ("unschedulable", False)
    assert "low on resource: memory" in seen.message


def test_of_two_pods_the_one_that_cannot_come_right_counts() -> None:
    unplaced = pod(scheduled="0/2 nodes are available: 2 Insufficient cpu.")
    stuck = pod(waiting("ErrImagePull", "manifest unknown"))
    seen = diagnose_function(FunctionEvidence(service=service(), revision=revision(), pods=[unplaced, stuck]))
    assert seen is not None
    assert seen.cause == "image"


def test_the_sidecar_that_crashes_is_not_blamed_on_the_function() -> None:
    sidecar = {**ended(1, message="bad TLS"), "name": "queue-proxy"}
    seen = found(sidecar, logs=["a line of the function"])
    assert "bad TLS" in seen.message
    assert seen.fix.endswith("-c queue-proxy")


def test_what_a_revision_says_once_its_pods_have_gone() -> None:
    failed = failed_revision("ContainerHealthy", "ExitCode1", "Container failed with: ValueError: bad label")
    seen = diagnose_function(FunctionEvidence(service=failed_service("x"), revision=failed))
    assert seen is not None
    assert (seen.cause, seen.message) == ("crash", "the process ended with exit code 1: ValueError: bad label")


def test_between_two_crashes_the_last_one_still_counts() -> None:
    """A container without a probe of its own is ready for as long as it runs."""
    again = container(lastState={"terminated": {"exitCode": 1, "message": "boom"}}, restartCount=4)
    seen = found(again)
    assert (seen.cause, seen.final) == ("crash", True)
    assert seen.message.endswith("4 times: boom")
    assert found(again, readiness={"type": "urn:eaves:problem:golden", "detail": "differs"}).cause == "function"
