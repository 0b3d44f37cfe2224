"""Pods whose containers can't be started, end, or run and say why they aren't ready."""

from collections.abc import Mapping
from typing import Any

import pytest

from knative.status.conditions import CAUSES, Diagnosis
from knative.status.pods import explain_pod
from tests.cluster.expanded import ended, pod, waiting


def explain(*containers: Mapping[str, Any], **details: Any) -> Diagnosis | None:
    found = explain_pod(pod(*map(dict, containers)), **details)
    assert found is None or found.cause in CAUSES
    return found


def found(*containers: Mapping[str, Any], **details: Any) -> Diagnosis:
    seen = explain(*containers, **details)
    assert seen is not None
    return seen


def test_a_crash_is_certain_after_three_restarts_or_by_its_exit_code():
    seen = found(ended(1, message="boom", restarts=3))
    assert seen.final
    assert seen.message == "the process ended with exit code 1, 3 times: boom"
    assert found(ended(78, message="error: EAVES_CONCURRENCY: must be a number", restarts=0)).final


def test_out_of_memory_names_the_limit_and_the_setting():
    stuck = pod(ended(137, reason="OOMKilled"))
    stuck["spec"]["containers"][0]["resources"]["limits"] = {"memory": "512Mi"}
    seen = explain_pod(stuck)
    assert seen is not None
    assert (seen.cause, seen.final) == ("memory", True)
    assert seen.message == "the process was killed because it used more memory than allowed (512Mi)"
    assert "knative.pod.resources.limits.memory" in seen.fix
    assert "most likely" in found(ended(137)).message, "killed without a word"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (ended(255, message="exec /usr/bin/python: exec format error"), "image"),
        (waiting("RunContainerError", "exec: exec format error: unknown"), "image"),
        (waiting("ErrImagePull", "manifest unknown"), "image"),
        (waiting("CreateContainerConfigError", 'secret "tokens" not found'), "configuration"),
        (
            ended(128, reason="StartError", message='exec: "python": executable file not found in $PATH'),
            "configuration",
        ),
        (ended(128, message='failed to create containerd task: exec: "x": not found'), "configuration"),
    ],
)
def test_what_a_container_waits_for_or_ended_with(status: Mapping[str, Any], cause: str):
    assert found(status).cause == cause


def test_a_pod_that_was_put_out_or_never_placed():
    out = pod()
    out["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    seen = explain_pod(out)
    assert seen is not None
    assert (seen.cause, seen.final) == ("unschedulable", False)
    assert "low on resource: memory" in seen.message
    unplaced = explain_pod(pod(scheduled="0/2 nodes are available: 2 Insufficient cpu."))
    assert unplaced is not None
    assert unplaced.cause == "unschedulable"


def test_the_sidecar_that_crashes_is_not_blamed_on_the_function():
    sidecar = {**ended(1, message="bad TLS"), "name": "queue-proxy"}
    seen = found(sidecar, log=["a line of the function"])
    assert "bad TLS" in seen.message
    assert seen.fix.endswith("-c queue-proxy")
