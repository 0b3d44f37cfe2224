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

Object = Mapping[str, Any]
"""An object as in the API server's JSON, or a part of one."""
Manifest = dict[str, Any]
"""The same, to be completed, applied or changed."""
Labels = Mapping[str, str]
"""Labels or annotations of an object, or a selector of labels."""


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of object at the API server.

    Attributes:
        api_version: `v1`, or GROUP/VERSION.
        kind: Name of the kind.
        namespaced: Whether objects of the kind belong to a namespace.
    """

    api_version: str
    kind: str
    namespaced: bool = True

    @property
    def plural(self) -> str:
        """Name of the kind in paths."""
        name = self.kind.lower()
        return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"

    @property
    def group(self) -> str:
        """API group of the kind; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """Name of the kind for kubectl, such as `services.serving.knative.dev`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "") -> str:
        """Return the API server's path of all objects of the kind, or of the object with a name."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


SERVING, EVENTING, SOURCES = "serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1"

KSERVICE = ObjectKind(SERVING, "Service")
REVISION = ObjectKind(SERVING, "Revision")
POD_AUTOSCALER = ObjectKind("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler")
BROKER = ObjectKind(EVENTING, "Broker")
TRIGGER = ObjectKind(EVENTING, "Trigger")
SUBSCRIPTION = ObjectKind("messaging.knative.dev/v1", "Subscription")
EVENT_TYPE = ObjectKind("eventing.knative.dev/v1beta3", "EventType")
SINK_BINDING = ObjectKind(SOURCES, "SinkBinding")
JOB_SINK = ObjectKind("sinks.knative.dev/v1alpha1", "JobSink")
DEPLOYMENT = ObjectKind("apps/v1", "Deployment")
STATEFUL_SET = ObjectKind("apps/v1", "StatefulSet")
DAEMON_SET = ObjectKind("apps/v1", "DaemonSet")
JOB = ObjectKind("batch/v1", "Job")
CRON_JOB = ObjectKind("batch/v1", "CronJob")
NETWORK_POLICY = ObjectKind("networking.k8s.io/v1", "NetworkPolicy")
ROLE = ObjectKind("rbac.authorization.k8s.io/v1", "Role")
ROLE_BINDING = ObjectKind("rbac.authorization.k8s.io/v1", "RoleBinding")
SERVICE_ACCOUNT = ObjectKind("v1", "ServiceAccount")
SERVICE = ObjectKind("v1", "Service")
CONFIG_MAP = ObjectKind("v1", "ConfigMap")
POD = ObjectKind("v1", "Pod")
EVENT = ObjectKind("v1", "Event")
CLAIM = ObjectKind("v1", "PersistentVolumeClaim")
NODE = ObjectKind("v1", "Node", namespaced=False)
REVIEW = ObjectKind("authorization.k8s.io/v1", "SelfSubjectAccessReview", namespaced=False)
NAMESPACE = ObjectKind("v1", "Namespace", namespaced=False)

_KINDS = {(value.api_version, value.kind): value for value in list(globals().values()) if isinstance(value, ObjectKind)}


def metadata_of(one: Object) -> Object:
    """Return an object's metadata."""
    return one.get("metadata") or {}


def annotations_of(one: Object) -> Labels:
    """Return an object's annotations."""
    return metadata_of(one).get("annotations") or {}


def spec_of(one: Object) -> Object:
    """Return an object's spec."""
    return one.get("spec") or {}


def status_of(one: Object) -> Object:
    """Return an object's status, which its controller writes."""
    return one.get("status") or {}


def kind_of(manifest: Object) -> ObjectKind:
    """Return the kind of an object, from its `apiVersion` and `kind`."""
    key = (str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))
    if key not in _KINDS:
        raise ClusterError(
            f"Eaves does not support objects of the kind {key[1] or '(none)'} and apiVersion {key[0] or '(none)'}"
        )
    return _KINDS[key]
