"""The traffic and the annotation of a Knative Service, in which the state of its rollout is stored. Pure.

A revision that isn't ready must not be in `spec.traffic`, not even at 0 %: Knative then leaves the whole route
unchanged until all revisions in it are ready. So a revision that is rolled back is removed from `spec.traffic`, and a
revision is added only when it is ready. Source: knative/serving, pkg/reconciler/route/traffic/traffic.go
(`addRevisionTarget`, `build`).

Any user who may change a Service may change its annotations. So an unreadable annotation counts as no rollout, and
never as a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence

from eaves.rollout.state import LATEST, RolloutStatus, Traffic, parse_state
from knative.client.kinds import Manifest, Object, metadata_of, spec_of, status_of
from knative.resources.metadata import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER
from knative.status.conditions import condition, observed


def parse_traffic(entries: Sequence[Object], latest_ready: str) -> tuple[Traffic, Traffic]:
    """Parse `spec.traffic` of a Service.

    Returns:
        The traffic as it is set, and the traffic with `latest_ready` in place of `LATEST` (its share is left out while
        there is no such revision).
    """
    traffic: dict[str, int] = {}
    shares: dict[str, int] = {}
    for entry in entries:
        revision = LATEST if entry.get("latestRevision") else str(entry.get("revisionName") or LATEST)
        percent = int(entry.get("percent") or 0)
        if percent:
            traffic[revision] = traffic.get(revision, 0) + percent
        if percent and (name := revision or latest_ready):
            shares[name] = shares.get(name, 0) + percent
    return traffic, shares


def build_traffic(traffic: Traffic) -> list[Manifest]:
    """Build the value of `spec.traffic` from the percent of requests by revision."""
    # Knative's webhook adds a missing `latestRevision`, and then the applied value would always differ.
    return [
        {"latestRevision": False, "percent": percent, "revisionName": revision}
        if revision
        else {"latestRevision": True, "percent": percent}
        for revision, percent in traffic.items()
        if percent
    ]


def parse_rollout_status(service: Object) -> RolloutStatus:
    """Parse the rollout status of a function from its Knative Service.

    Source: knative/serving, pkg/reconciler/service/service.go (`MarkConfigurationNotReconciled`: OutOfDate).
    """
    metadata, status = metadata_of(service), status_of(service)
    latest_ready = str(status.get("latestReadyRevisionName") or "")
    traffic, shares = parse_traffic(spec_of(service).get("traffic") or (), latest_ready)
    text, state, fault = (metadata.get("annotations") or {}).get(ROLLOUT_ANNOTATION), None, ""
    try:
        state = None if text is None else parse_state(str(text))
    except ValueError as error:
        fault = f"the annotation {ROLLOUT_ANNOTATION} can't be read, so there is no rollout: {error}"
    return RolloutStatus(
        name=str(metadata.get("name", "")),
        newest=str(status.get("latestCreatedRevisionName") or ""),
        traffic=traffic,
        shares=shares,
        state=state,
        fault=fault,
        settled=observed(service) and condition(service, "ConfigurationsReady").get("reason") != "OutOfDate",
    )


def owns_traffic(service: Object) -> bool:
    """Return whether the field manager `eaves-rollout` owns `spec.traffic`.

    If it does, `spec.traffic` is removed when that manager applies the Service without it.
    """
    return any(
        (entry.get("manager"), entry.get("operation")) == (ROLLOUT_MANAGER, "Apply")
        and "f:traffic" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in metadata_of(service).get("managedFields") or ()
    )
