"""Metadata of Eaves' objects: names of labels, annotations and field managers, and references to objects."""

from __future__ import annotations

from dataclasses import dataclass

from knative.client.kinds import Labels, Manifest, Object, ObjectKind

MANAGER = "eaves"
"""Field manager of every field except traffic."""
ROLLOUT_MANAGER = "eaves-rollout"
"""Field manager that owns only a Service's spec.traffic and the rollout's annotation."""

APP_LABEL = "eaves.dev/app"
"""Label with the app that an object belongs to.

Any user can set the label; the objects that `deploy` made are listed in the app's inventory.
"""
SITE_LABEL = "eaves.dev/site"
NAMESPACE_LABEL = "eaves.dev/namespace"
"""Label of an object outside the app's namespace, with the app's namespace as value. Agents on nodes have it, since
apps of several namespaces share their namespace."""
PART_LABEL = "app.kubernetes.io/component"
"""Label with the part of the app that an object belongs to.

It is `function`, `broker`, `trigger`, `source`, `publisher`, `relay`, `pin`, `access`, `event-type`, `inventory`, or
one of `TRAINING_PARTS`.
"""
TRAINING_PARTS = ("training", "pipeline")
"""Values of PART_LABEL on the objects of an app's trainings, which a deploy neither applies nor removes."""
MANAGED_LABEL, MANAGED_VALUE = "app.kubernetes.io/managed-by", "eaves"
OURS = f"{MANAGED_LABEL}={MANAGED_VALUE}"
"""Selector of every object of Eaves."""
NAME_LABEL, PRODUCT = "app.kubernetes.io/name", "eaves"
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""Label with the app, or with the name of a server that belongs to no app."""
VERSION_LABEL = "app.kubernetes.io/version"
"""Label of a function and its pods with the beginning of its artifact's digest."""
RUN_LABEL = "eaves.dev/run"
"""Label of a Job with the name of the training's run."""
ARTIFACT_ANNOTATION = "eaves.dev/artifact"
"""Annotation with the sha256, hexadecimal, of the manifest of the artifact that a container image holds."""
PIN_LABEL = "eaves.dev/pin"
"""Label of a pin and its pods that identifies the pinned container image and the nodes
(`knative.resources.function.pin_key`)."""
PIN_ANNOTATION = "eaves.dev/pin"
"""Annotation of a Service with the DaemonSet that pins its last deployed container image; absent without a pin."""
ROLLOUT_ANNOTATION = "eaves.dev/rollout"
"""Annotation with the rollout's state as JSON (`knative.rollout`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOwner:
    """The app that owns objects in a cluster.

    Attributes:
        app: Name of the app; empty means every app.
        agents: Namespace of the agents on nodes; empty when there is none.
    """

    app: str
    agents: str = ""

    def owns(self, one: Object, home: str) -> bool:
        """Return whether an object carries the labels of the app in the namespace `home`."""
        elsewhere = one["metadata"].get("namespace", home) != home
        return labels_of(one).get(APP_LABEL) == self.app and (not elsewhere or self.has_agent(one, home))

    def has_agent(self, one: Object, home: str) -> bool:
        """Return whether an object of an agent on nodes belongs to an app in the namespace `home`."""
        return labels_of(one).get(NAMESPACE_LABEL) == home


def labels_of(one: Object) -> Labels:
    """Return the labels of an object; empty when it has none."""
    return one["metadata"].get("labels") or {}


def is_ours(one: Object) -> bool:
    """Return whether an object has the label that all objects of Eaves carry."""
    return labels_of(one).get(MANAGED_LABEL) == MANAGED_VALUE


def is_shared(manifest: Object) -> bool:
    """Return whether several apps share an object, such as a Broker or the namespace of agents."""
    return APP_LABEL not in labels_of(manifest)


def labels(app: str, site: str, part: str) -> dict[str, str]:
    """Build the labels that every object of an app carries."""
    common = {MANAGED_LABEL: MANAGED_VALUE, NAME_LABEL: PRODUCT, INSTANCE_LABEL: app}
    return {**common, PART_LABEL: part, APP_LABEL: app, SITE_LABEL: site}


def reference(kind: ObjectKind, name: str, namespace: str = "") -> dict[str, str]:
    """Build a reference to an object by kind, name and namespace."""
    found = {"apiVersion": kind.api_version, "kind": kind.kind, "name": name}
    return {**found, "namespace": namespace} if namespace else found


EVENTING_NAMESPACE = "knative-eventing"
"""Namespace of Eventing's dispatchers, which deliver the events that Triggers select."""


def build_namespace_peer(name: str) -> Manifest:
    """Build the NetworkPolicy peer that selects every pod of a namespace.

    Source: Kubernetes, the label that each namespace carries.
    """
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
