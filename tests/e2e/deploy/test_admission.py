"""Namespaces with rules of their own: quotas, limit ranges, and one that is being deleted."""

from collections.abc import Callable

import pytest

from eaves.events import Event
from knative.client.kinds import CONFIG_MAP, NAMESPACE, ObjectKind
from tests.e2e.places import NAME, Place
from tests.e2e.pods import apply, create_object
from tests.e2e.stream import ask_version
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
QUOTA = ObjectKind("v1", "ResourceQuota")
LIMIT_RANGE = ObjectKind("v1", "LimitRange")
NEEDS_LIMITS = {"metadata": {"name": "line"}, "spec": {"hard": {"limits.cpu": "4", "limits.memory": "8Gi"}}}
DEFAULTS = {
    "metadata": {"name": "line"},
    "spec": {"limits": [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]},
}


def test_a_quota_is_named_and_a_limit_range_that_fills_in_limits_lets_the_deploy_through(
    place: Place, image: str, version: str, make_event: Callable[..., Event]
):
    create_object(place.cluster, QUOTA, NEEDS_LIMITS)
    refused = place.deploy(image, "--timeout", "30", codes=(69,)).stderr
    assert "the quota line of the namespace requires every container to specify" in refused
    create_object(place.cluster, LIMIT_RANGE, DEFAULTS)
    place.deploy(image)
    assert ask_version(place.platform, NAME, make_event("within-limits.png")) == version
    place.eaves("remove", NAME)


def test_a_deploy_into_a_namespace_that_is_being_deleted_says_so(place: Place, image: str):
    """A ConfigMap with a finalizer keeps the namespace from its end."""
    apply(place.cluster, CONFIG_MAP, "kept")
    patch = '{"metadata":{"finalizers":["eaves.dev/e2e"]}}'
    place.kubectl("patch", "configmap", "kept", "--type=merge", "-p", patch)
    place.cluster.delete(NAMESPACE, place.cluster.namespace)

    def is_ending() -> bool:
        namespace = place.cluster.get(NAMESPACE, place.cluster.namespace) or {}
        return bool(namespace.get("status", {}).get("phase") == "Terminating")

    try:
        wait_until(is_ending, 60, pause_s=0.2, what="a namespace that is being deleted")
        said = place.deploy(image, codes=range(1, 128)).stderr
        assert "try: make the namespace again when it is gone" in said, said
    finally:
        place.kubectl("patch", "configmap", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
