"""The rollout status of a function: its revisions, traffic and rollout, as its Service has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knative.readiness.conditions import condition, observed
from knative.resources.metadata import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER
from knative.rollout.decision import RevisionHealth
from knative.rollout.state import (
    LATEST,
    RolloutState,
    Traffic,
    find_largest_share,
    parse_state,
    parse_traffic,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """A function's revisions, traffic and rollout.

    Attributes:
        name: Name of the function.
        newest: The revision that was made last; empty when there is none yet.
        traffic: Traffic as the Service has it.
        shares: The traffic with the name of the latest ready revision in place of `LATEST`.
        preview: The revision at 0 % with an address of its own; empty for none.
        state: State of the rollout; None when there is none.
        fault: Reason why the rollout's annotation can't be parsed; empty when it can be parsed, or there is none.
        settled: Whether Knative has processed the last change of the Service, so that `newest` is certain.
    """

    name: str
    newest: str
    traffic: Traffic
    shares: Traffic
    preview: str = ""
    state: RolloutState | None = None
    fault: str = ""
    settled: bool = True

    @property
    def fixed(self) -> bool:
        """Whether the traffic names its revisions, so that a new revision gets no requests automatically."""
        return bool(self.traffic) and LATEST not in self.traffic

    @property
    def current(self) -> RolloutState | None:
        """The stored state of the rollout if it is about the newest revision, else None."""
        return self.state if self.state is not None and self.state.new == self.newest else None

    @property
    def other(self) -> str:
        """The revision that the newest one is compared with; empty when none is known.

        It is the last revision that got all requests, if it still gets some. A revision whose rollout was not finished
        when a newer one was deployed is not used for comparison. Otherwise it is the revision with the largest share of
        the requests, or else the old revision in the stored state.
        """
        state = self.current
        proven = state.old if state is not None else self.state.serving if self.state is not None else ""
        if proven in self.shares and proven != self.newest:
            return proven
        return find_largest_share(self.shares, apart_from=self.newest) or (state.old if state is not None else "")


def parse_rollout_status(service: Mapping[str, Any]) -> RolloutStatus:
    """Parse the rollout status of a function from its Knative Service.

    Source: knative/serving, pkg/reconciler/service/service.go (`MarkConfigurationNotReconciled`: OutOfDate).
    """
    metadata, status = service.get("metadata", {}), service.get("status") or {}
    latest_ready = str(status.get("latestReadyRevisionName") or "")
    traffic, shares, preview = parse_traffic(service.get("spec", {}).get("traffic") or (), latest_ready)
    state, fault = parse_annotation(service)
    return RolloutStatus(
        name=str(metadata.get("name", "")),
        newest=str(status.get("latestCreatedRevisionName") or ""),
        traffic=traffic,
        shares=shares,
        preview=preview,
        state=state,
        fault=fault,
        settled=observed(service) and condition(service, "ConfigurationsReady").get("reason") != "OutOfDate",
    )


def parse_annotation(manifest: Mapping[str, Any]) -> tuple[RolloutState | None, str]:
    """Return (state of the rollout, reason why it can't be parsed) from a Service's annotation."""
    text = (manifest.get("metadata", {}).get("annotations") or {}).get(ROLLOUT_ANNOTATION)
    if text is None:
        return None, ""
    try:
        return parse_state(str(text)), ""
    except ValueError as error:
        return None, f"the annotation {ROLLOUT_ANNOTATION} can't be read, so there is no rollout: {error}"


def parse_health(name: str, revision: Mapping[str, Any] | None) -> RevisionHealth:
    """Return the health of a revision from its object; None as the object means that it doesn't exist."""
    if revision is None:
        return RevisionHealth(name=name, exists=False, ready=None)
    ready = condition(revision, "Ready")
    is_ready = {"True": True, "False": False}.get(str(ready.get("status", "")))
    return RevisionHealth(name=name, ready=is_ready, message=str(ready.get("message") or ready.get("reason") or ""))


def owns_traffic(service: Mapping[str, Any]) -> bool:
    """Return whether the field manager `eaves-rollout` owns `spec.traffic`.

    If it does, `spec.traffic` is removed when that manager applies the Service without it.
    """
    for entry in service.get("metadata", {}).get("managedFields") or []:
        if entry.get("manager") == ROLLOUT_MANAGER and entry.get("operation") == "Apply":
            return "f:traffic" in entry.get("fieldsV1", {}).get("f:spec", {})
    return False
