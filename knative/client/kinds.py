"""Kinds of objects that Eaves reads and writes, with their paths at the API server: one table instead of discovery.

Discovery costs three requests for each API group on each of many sites, and the official client caches its answer by
host and port, where another cluster may answer later. The kinds are few, and their APIs fix their paths.

Source: Kubernetes API conventions; the `spec.names` of Knative's CRDs (Serving 1.23, Eventing 1.22).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eaves.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """A kind of object at the API server.

    Attributes:
        api_version: `v1`, or GROUP/VERSION.
        kind: Name of the kind.
        plural: Name of the kind in paths.
        namespaced: Whether objects of the kind belong to a namespace.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """API group of the kind; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str, name: str = "") -> str:
        """Return the API server's path of all objects of the kind, or of the object with a name."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


def _kind(api_version: str, kind: str, *, plural: str = "", namespaced: bool = True) -> ObjectKind:
    plural = plural or f"{kind.lower()}s"
    return ObjectKind(api_version=api_version, kind=kind, plural=plural, namespaced=namespaced)


SERVING, EVENTING, SOURCES = "serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1"

KSERVICE = _kind(SERVING, "Service")
REVISION = _kind(SERVING, "Revision")
POD_AUTOSCALER = _kind("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler")
BROKER = _kind(EVENTING, "Broker")
TRIGGER = _kind(EVENTING, "Trigger")
SUBSCRIPTION = _kind("messaging.knative.dev/v1", "Subscription")
EVENT_TYPE = _kind("eventing.knative.dev/v1beta3", "EventType")
SINK_BINDING = _kind(SOURCES, "SinkBinding")
CONTAINER_SOURCE = _kind(SOURCES, "ContainerSource")
JOB_SINK = _kind("sinks.knative.dev/v1alpha1", "JobSink")
DEPLOYMENT = _kind("apps/v1", "Deployment")
STATEFUL_SET = _kind("apps/v1", "StatefulSet")
DAEMON_SET = _kind("apps/v1", "DaemonSet")
JOB = _kind("batch/v1", "Job")
NETWORK_POLICY = _kind("networking.k8s.io/v1", "NetworkPolicy", plural="networkpolicies")
ROLE = _kind("rbac.authorization.k8s.io/v1", "Role")
ROLE_BINDING = _kind("rbac.authorization.k8s.io/v1", "RoleBinding")
SERVICE_ACCOUNT = _kind("v1", "ServiceAccount")
SERVICE = _kind("v1", "Service")
CONFIG_MAP = _kind("v1", "ConfigMap")
SECRET = _kind("v1", "Secret")
POD = _kind("v1", "Pod")
EVENT = _kind("v1", "Event")
CLAIM = _kind("v1", "PersistentVolumeClaim")
LIMIT_RANGE = _kind("v1", "LimitRange")
NODE = _kind("v1", "Node", namespaced=False)
NAMESPACE = _kind("v1", "Namespace", namespaced=False)

_KINDS = {(value.api_version, value.kind): value for value in list(globals().values()) if isinstance(value, ObjectKind)}


def kind_of(manifest: Mapping[str, Any]) -> ObjectKind:
    """Return the kind of an object, from its `apiVersion` and `kind`.

    Raises:
        ClusterError: When Eaves doesn't know the kind.
    """
    key = (str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))
    if key not in _KINDS:
        raise ClusterError(
            f"Eaves does not support objects of the kind {key[1] or '(none)'} and apiVersion {key[0] or '(none)'}"
        )
    return _KINDS[key]
