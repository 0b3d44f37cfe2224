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


SERVING, EVENTING, SOURCES = "serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1"

KSERVICE = ObjectKind(api_version=SERVING, kind="Service", plural="services")
REVISION = ObjectKind(api_version=SERVING, kind="Revision", plural="revisions")
POD_AUTOSCALER = ObjectKind(
    api_version="autoscaling.internal.knative.dev/v1alpha1", kind="PodAutoscaler", plural="podautoscalers"
)
BROKER = ObjectKind(api_version=EVENTING, kind="Broker", plural="brokers")
TRIGGER = ObjectKind(api_version=EVENTING, kind="Trigger", plural="triggers")
SUBSCRIPTION = ObjectKind(api_version="messaging.knative.dev/v1", kind="Subscription", plural="subscriptions")
EVENT_TYPE = ObjectKind(api_version="eventing.knative.dev/v1beta3", kind="EventType", plural="eventtypes")
SINK_BINDING = ObjectKind(api_version=SOURCES, kind="SinkBinding", plural="sinkbindings")
CONTAINER_SOURCE = ObjectKind(api_version=SOURCES, kind="ContainerSource", plural="containersources")
JOB_SINK = ObjectKind(api_version="sinks.knative.dev/v1alpha1", kind="JobSink", plural="jobsinks")
DEPLOYMENT = ObjectKind(api_version="apps/v1", kind="Deployment", plural="deployments")
REPLICA_SET = ObjectKind(api_version="apps/v1", kind="ReplicaSet", plural="replicasets")
STATEFUL_SET = ObjectKind(api_version="apps/v1", kind="StatefulSet", plural="statefulsets")
DAEMON_SET = ObjectKind(api_version="apps/v1", kind="DaemonSet", plural="daemonsets")
JOB = ObjectKind(api_version="batch/v1", kind="Job", plural="jobs")
NETWORK_POLICY = ObjectKind(api_version="networking.k8s.io/v1", kind="NetworkPolicy", plural="networkpolicies")
ROLE = ObjectKind(api_version="rbac.authorization.k8s.io/v1", kind="Role", plural="roles")
ROLE_BINDING = ObjectKind(api_version="rbac.authorization.k8s.io/v1", kind="RoleBinding", plural="rolebindings")
SERVICE_ACCOUNT = ObjectKind(api_version="v1", kind="ServiceAccount", plural="serviceaccounts")
SERVICE = ObjectKind(api_version="v1", kind="Service", plural="services")
CONFIG_MAP = ObjectKind(api_version="v1", kind="ConfigMap", plural="configmaps")
SECRET = ObjectKind(api_version="v1", kind="Secret", plural="secrets")
POD = ObjectKind(api_version="v1", kind="Pod", plural="pods")
EVENT = ObjectKind(api_version="v1", kind="Event", plural="events")
CLAIM = ObjectKind(api_version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims")
RESOURCE_QUOTA = ObjectKind(api_version="v1", kind="ResourceQuota", plural="resourcequotas")
LIMIT_RANGE = ObjectKind(api_version="v1", kind="LimitRange", plural="limitranges")
LEASE = ObjectKind(api_version="coordination.k8s.io/v1", kind="Lease", plural="leases")
STORAGE_CLASS = ObjectKind(
    api_version="storage.k8s.io/v1", kind="StorageClass", plural="storageclasses", namespaced=False
)
NODE = ObjectKind(api_version="v1", kind="Node", plural="nodes", namespaced=False)
NAMESPACE = ObjectKind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False)

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
