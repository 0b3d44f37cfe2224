"""Refusals of an API server as errors with remedies."""

import json
from typing import Any

from eaves.errors import (
    AbsentError,
    ClusterError,
    ConflictError,
    DeniedError,
    InvalidError,
    UnreachableClusterError,
)
from knative.client.api_errors import ApiCall, build_api_error, parse_status

CALL = ApiCall(
    context="barn",
    server="https://10.0.0.1:6443",
    verb="patch",
    resource="services.serving.knative.dev",
    name="flowers",
    namespace="cams",
)


def status(code: int, message: str, **details: Any) -> bytes:
    value = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return json.dumps(value | {"details": details}).encode()


def cause(manager: str, field: str) -> dict[str, str]:
    return {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}


def test_a_conflict_names_each_manager_and_field():
    causes = [
        cause('"kn" using serving.knative.dev/v1 at 2026-11-24T14:42:56Z', ".spec.template.spec.containers"),
        cause('"kubectl-edit" with subresource "status" using v1 at 2026-11-24T14:42:56Z', ".metadata.labels.a"),
        {"reason": "SomethingElse", "message": "other", "field": ".x"},
    ]
    error = build_api_error(409, status(409, "Apply failed with 3 conflicts: ...", causes=causes), CALL)
    assert isinstance(error, ConflictError)
    assert error.causes == (
        ("kn", ".spec.template.spec.containers"),
        ("kubectl-edit", ".metadata.labels.a"),
    )
    assert "has set fields of services.serving.knative.dev flowers in namespace cams" in error.message
    assert error.hint is not None
    assert error.hint.endswith(
        "kubectl --context barn get services.serving.knative.dev flowers -o yaml --show-managed-fields -n cams"
    )


def test_a_missing_right_is_the_one_that_the_server_names():
    said = (
        'pods "f-1" is forbidden: User "system:serviceaccount:ci:bot" cannot get resource "pods/log" in API group "" '
        'in the namespace "cams"'
    )
    error = build_api_error(403, status(403, said), CALL)
    assert isinstance(error, DeniedError)
    assert error.message == "barn: system:serviceaccount:ci:bot may not get pods/log in namespace cams"
    assert str(error.hint).endswith("kubectl --context barn auth can-i get pods --subresource=log -n cams")


def test_each_status_is_an_error_with_the_servers_word():
    for code, said, error in (
        (403, 'admission webhook "w" denied the request: policy', InvalidError),
        (401, "Unauthorized", DeniedError),
        (404, 'pods "a" not found', AbsentError),
        (422, "is invalid", InvalidError),
        (429, "slow down", ClusterError),
        (500, 'failed calling webhook "webhook.serving.knative.dev": no endpoints', ClusterError),
        (500, "etcdserver: leader changed", ClusterError),
        (503, "shutting down", UnreachableClusterError),
        (504, "Timeout", UnreachableClusterError),
    ):
        found = build_api_error(code, status(code, said), CALL)
        assert type(found) is error, said
        assert found.message.startswith("barn: ")
        assert said in found.message


def test_a_missing_namespace_is_distinguished_from_a_missing_object_and_a_missing_kind():
    namespace = build_api_error(404, status(404, 'namespaces "cams" not found', name="cams", kind="namespaces"), CALL)
    assert namespace.hint == "kubectl --context barn create namespace cams"
    thing = build_api_error(404, status(404, 'services.serving.knative.dev "flowers" not found', kind="services"), CALL)
    assert thing.hint == "kubectl --context barn get services.serving.knative.dev -n cams"
    kind = build_api_error(404, b"404 page not found\n", CALL)
    assert kind.message == "barn: this cluster does not have services.serving.knative.dev"
    assert str(kind.hint).endswith("kubectl --context barn api-resources --api-group=serving.knative.dev")


def test_what_is_no_status_is_not_taken_for_one():
    for body in (b"", b'{"kind": "Pod"}', b"\xff"):
        assert parse_status(body) is None
        assert build_api_error(500, body, CALL).message.startswith("barn: ")
