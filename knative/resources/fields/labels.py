"""Names that what Eaves applies carries: labels, annotations, field managers."""

from __future__ import annotations

MANAGER = "eaves"
"""Field manager of everything but traffic."""
ROLLOUT_MANAGER = "eaves-rollout"
"""Field manager of a Service's spec.traffic and of the rollout's annotation, and of nothing else."""

APP_LABEL = "eaves.dev/app"
"""The app an object belongs to. Anybody may set it: what `deploy` made is listed in the app's inventory."""
SITE_LABEL = "eaves.dev/site"
NAMESPACE_LABEL = "eaves.dev/namespace"
"""Namespace of the app that an object in another namespace belongs to: agents on nodes share theirs with other apps."""
PART_LABEL = "app.kubernetes.io/component"
"""`function`, `broker`, `trigger`, `source`, `publisher`, `relay`, `pin`, `access`, `event-type`, `inventory`; and
`TRAINING_PARTS`.
"""
TRAINING_PARTS = ("training", "pipeline")
"""Of what trains an app: applied for itself, and no part of its deploy."""
MANAGED_LABEL, MANAGED_VALUE = "app.kubernetes.io/managed-by", "eaves"
RUN_LABEL = "eaves.dev/run"
"""Name of the run that a Job makes, on the Job."""
ARTIFACT_ANNOTATION = "eaves.dev/artifact"
"""sha256 of the manifest of the artifact that a container image holds, hex."""
PIN_LABEL = "eaves.dev/pin"
"""Which container image a pin holds on which nodes (`knative.resources.pin.pin_key`), on the pin and its pods."""
PIN_ANNOTATION = "eaves.dev/pin"
"""Name of the DaemonSet that pins what a Service was last deployed with, on the Service; left out: there is none."""
REVISIONS_ANNOTATION = "eaves.dev/revisions"
"""In files for GitOps: names of the revisions that a pin was rendered for, on the pin, with commas between them."""
DELIVERY_ANNOTATION = "eaves.dev/delivery-taken-back"
"""On a Trigger whose Subscription may still have settings of its delivery that the Trigger no longer has."""
TOUCHED_ANNOTATION, TOUCH_MANAGER = "eaves.dev/touched", "eaves-touch"
"""When Knative was last made to look at a SinkBinding again, RFC 3339, and the field manager of that annotation."""
ROLLOUT_ANNOTATION = "eaves.dev/rollout"
"""JSON: where a rollout stands (`knative.rollout`)."""


def labels(app: str, site: str, part: str) -> dict[str, str]:
    """What every object of an app carries."""
    return {MANAGED_LABEL: MANAGED_VALUE, PART_LABEL: part, APP_LABEL: app, SITE_LABEL: site}
