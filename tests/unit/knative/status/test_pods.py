"""Pods whose containers can't be started, end, or run and say why they aren't ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from knative.status.conditions import CAUSES, Diagnosis
from knative.status.pods import explain_pod
from tests.cluster.expanded import POD, container, ended, event, pod, waiting


def explain(*containers: Mapping[str, Any], **details: Any) -> Diagnosis | None:
    found = explain_pod(pod(*map(dict, containers)), **details)
    assert found is None or found.cause in CAUSES
    return found


def found(*containers: Mapping[str, Any], **details: Any) -> Diagnosis:
    seen = explain(*containers, **details)
    assert seen is not None
    return seen


def test_a_crash_is_reported_with_the_last_lines() -> None:
    lines = ["loading", "Traceback (most recent call last):", "ValueError: bad label"]
    seen = found(ended(1), log=lines)
    assert (seen.cause, seen.final) == ("crash", False)
    assert seen.message == (
        "the process ended with exit code 1: loading | Traceback (most recent call last): | ValueError: bad label"
    )
    assert seen.fix == f"kubectl logs --previous -n cams {POD} -c user-container"
    assert found(ended(3)).message == "the process ended with exit code 3, and wrote no log"


def test_a_crash_is_certain_after_three_restarts_or_by_its_exit_code() -> None:
    seen = found(ended(1, message="boom", restarts=3))
    assert seen.final
    assert seen.message == "the process ended with exit code 1, 3 times: boom"
    assert found(ended(78, message="error: EAVES_CONCURRENCY: must be a number", restarts=0)).final


def test_out_of_memory_names_the_limit_and_the_setting() -> None:
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
def test_what_a_container_waits_for_or_ended_with(status: Mapping[str, Any], cause: str) -> None:
    assert found(status).cause == cause


@pytest.mark.parametrize("as_json", [True, False])
def test_the_functions_own_log_tells_why_it_is_never_ready(as_json: bool) -> None:
    text = "never ready: labels.txt was altered (try: eaves package it again)"
    line = json.dumps({"level": "error", "message": text}) if as_json else f"2026-11-25 09:53:00,000 ERROR {text}"
    seen = found(container(), log=["starting", line, "{not json", "something else"])
    assert (seen.cause, seen.final) == ("function", True)
    assert seen.message == "the function reports: labels.txt was altered"
    assert seen.fix == "eaves package it again"


def test_what_only_the_events_tell() -> None:
    mount = event("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "nosuch" not found')
    other = event("FailedMount", "of an older pod", at="2026-11-25T10:53:00Z", uid="u-older")
    seen = found(waiting("ContainerCreating"), events=[mount, other])
    assert (seen.cause, seen.final) == ("configuration", False)
    assert 'configmap "nosuch" not found' in seen.message
    assert seen.fix == f"kubectl -n cams describe pod {POD}"
    sandbox = event("FailedCreatePodSandBox", "Failed to create pod sandbox: plugin type=bridge failed")
    assert "can't set up the pod" in found(waiting("ContainerCreating"), events=[sandbox]).message


def test_a_pod_that_was_put_out_or_never_placed() -> None:
    out = pod()
    out["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    seen = explain_pod(out)
    assert seen is not None
    assert (seen.cause, seen.final) == ("unschedulable", False)
    assert "low on resource: memory" in seen.message
    unplaced = explain_pod(pod(scheduled="0/2 nodes are available: 2 Insufficient cpu."))
    assert unplaced is not None
    assert unplaced.cause == "unschedulable"


def test_the_sidecar_that_crashes_is_not_blamed_on_the_function() -> None:
    sidecar = {**ended(1, message="bad TLS"), "name": "queue-proxy"}
    seen = found(sidecar, log=["a line of the function"])
    assert "bad TLS" in seen.message
    assert seen.fix.endswith("-c queue-proxy")
