"""Names of the labels, annotations and field managers of Eaves' objects."""

from __future__ import annotations

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

It is `function`, `broker`, `trigger`, `source`, `publisher`, `relay`, `pin`, `access`, `event-type`, `inventory`,
`training` or `pipeline`.
"""
MANAGED_LABEL, MANAGED_VALUE = "app.kubernetes.io/managed-by", "eaves"
RUN_LABEL = "eaves.dev/run"
"""Label of a Job with the name of the training's run."""
ARTIFACT_ANNOTATION = "eaves.dev/artifact"
"""Annotation with the sha256, hexadecimal, of the manifest of the artifact that a container image holds."""
PIN_LABEL = "eaves.dev/pin"
"""Label of a pin and its pods that identifies the pinned container image and the nodes
(`knative.resources.pin.pin_key`)."""
PIN_ANNOTATION = "eaves.dev/pin"
"""Annotation of a Service with the DaemonSet that pins its last deployed container image; absent without a pin."""
TOUCHED_ANNOTATION, TOUCH_MANAGER = "eaves.dev/touched", "eaves-touch"
"""Annotation of a SinkBinding with the time (RFC 3339) when Eaves last made Knative reconcile it, and the field manager
of that annotation."""
ROLLOUT_ANNOTATION = "eaves.dev/rollout"
"""Annotation with the rollout's state as JSON (`knative.rollout`)."""


def labels(app: str, site: str, part: str) -> dict[str, str]:
    """Build the labels that every object of an app carries."""
    return {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: part, APP_LABEL: app, SITE_LABEL: site}
