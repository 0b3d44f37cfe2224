"""How things stand with one function: what its Service says of revisions, shares and the rollout. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knative.resources.fields.labels import ROLLOUT_ANNOTATION, ROLLOUT_MANAGER
from knative.rollout.analysis.decision import RevisionHealth
from knative.rollout.annotation import parse_state
from knative.rollout.rollout_state import RolloutState
from knative.rollout.traffic import LATEST, Traffic, find_largest_share, parse_preview, parse_traffic, resolve_latest


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """A function's revisions and shares.

    Attributes:
        name: Of the function.
        newest: The revision made last; empty: none yet.
        traffic: The shares as they are written.
        shares: The same with `LATEST` resolved.
        preview: The revision at 0 % that has an address of its own.
        state: Of the rollout; None: there is none.
        fault: Why the annotation can't be read; empty: it can, or isn't there.
        settled: Whether the cluster has taken up what was applied last, so that `newest` is the newest.
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
    def pinned(self) -> bool:
        """Whether a new revision gets nothing by itself."""
        return bool(self.traffic) and LATEST not in self.traffic

    @property
    def current(self) -> RolloutState | None:
        """The state, if it is about the newest revision."""
        return self.state if self.state is not None and self.state.new == self.newest else None

    @property
    def other(self) -> str:
        """The revision that the newest one is set against; empty: nobody knows any.

        The one that has proven itself, if it still gets requests: where a newer revision comes in the middle of a
        rollout, the one in the middle has not. Else the one with the largest share; else the one on record.
        """
        state = self.current
        proven = state.old if state is not None else self.state.serving if self.state is not None else ""
        if proven in self.shares and proven != self.newest:
            return proven
        return find_largest_share(self.shares, apart_from=self.newest) or (state.old if state is not None else "")


def parse_rollout_status(service: Mapping[str, Any]) -> RolloutStatus:
    """Read a Service as the API server has it."""
    metadata, status = service.get("metadata", {}), service.get("status") or {}
    entries = service.get("spec", {}).get("traffic")
    traffic = parse_traffic(entries)
    state, fault = parse_annotation(service)
    return RolloutStatus(
        name=str(metadata.get("name", "")),
        newest=str(status.get("latestCreatedRevisionName") or ""),
        traffic=traffic,
        shares=resolve_latest(traffic, str(status.get("latestReadyRevisionName") or "")),
        preview=parse_preview(entries),
        state=state,
        fault=fault,
        settled=_is_settled(metadata, status),
    )


def parse_annotation(manifest: Mapping[str, Any]) -> tuple[RolloutState | None, str]:
    """The rollout's state, or why it can't be read."""
    text = (manifest.get("metadata", {}).get("annotations") or {}).get(ROLLOUT_ANNOTATION)
    if text is None:
        return None, ""
    try:
        return parse_state(str(text)), ""
    except ValueError as error:
        return None, f"the annotation {ROLLOUT_ANNOTATION} can't be read, so there is no rollout: {error}"


def parse_health(name: str, revision: Mapping[str, Any] | None) -> RevisionHealth:
    """Read a Revision as the API server has it; None: it isn't there."""
    if revision is None:
        return RevisionHealth(name=name, exists=False, ready=None)
    condition = condition_of(revision, "Ready")
    said = {"True": True, "False": False}.get(str(condition.get("status", "")))
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    return RevisionHealth(name=name, ready=said, message=message or reason)


def condition_of(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One of an object's conditions; empty when it has none of that type."""
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def owns_traffic(service: Mapping[str, Any]) -> bool:
    """Whether leaving `spec.traffic` out of what `eaves-rollout` applies would remove it."""
    for entry in service.get("metadata", {}).get("managedFields") or []:
        if entry.get("manager") == ROLLOUT_MANAGER and entry.get("operation") == "Apply":
            return "f:traffic" in entry.get("fieldsV1", {}).get("f:spec", {})
    return False


def _is_settled(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Source: knative/serving, pkg/reconciler/service/service.go (`MarkConfigurationNotReconciled`)."""
    configured = condition_of({"status": status}, "ConfigurationsReady")
    taken_up = status.get("observedGeneration") == metadata.get("generation")
    return taken_up and configured.get("reason") != "OutOfDate"
