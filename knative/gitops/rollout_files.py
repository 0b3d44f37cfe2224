"""Rollouts in a file: commands such as `promote`, for files that Argo CD or Flux applies from Git. Pure.

A file that `render` writes for GitOps names its revision (`spec.template.metadata.name`), so the traffic can name it
before the cluster has made it. The revision that served before is stored in the file's annotation, as on a cluster. A
file never changes automatically: `advance` doesn't change such a Service.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eaves.errors import InputError
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout.annotation import render_state
from knative.rollout.plan import Plan, plan_percent, plan_promote, plan_rollback
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.rollout_status import RolloutStatus, parse_annotation
from knative.rollout.traffic import LATEST, Traffic, build_traffic, parse_preview, parse_traffic, resolve_latest

Manifest = Mapping[str, Any]


def with_traffic(manifest: Manifest, traffic: Traffic, *, preview: str = "") -> dict[str, Any]:
    """Return a copy of a Service with other traffic.

    Args:
        manifest: The Service; it isn't changed.
        traffic: Percent of requests by revision.
        preview: Revision at 0 % that gets an address of its own, `next-NAME`; empty for none.

    Raises:
        InputError: When the shares aren't 100 % together.
    """
    changed = copy.deepcopy(dict(manifest))
    changed.setdefault("spec", {})["traffic"] = build_traffic(traffic, preview=preview)
    return changed


def retarget(old: Manifest | None, new: Manifest) -> dict[str, Any]:
    """Return a newly rendered Service whose traffic stays with the old file's revision; the new revision is at 0 %.

    Args:
        old: Content of the present file; None when there is no file, so that the new revision gets all requests.
        new: The newly rendered Service.

    Raises:
        InputError: When a file doesn't name its revision.
    """
    name = _revision(new)
    if old is None:
        state = RolloutState(old="", new=name, phase=RolloutPhase.DONE, traffic={name: 100}, served=True)
        return _written(new, Plan(state=state, traffic=state.traffic))
    before = _standing(old)
    if before.newest == name:  # the same revision, rendered again
        kept = with_traffic(new, before.traffic if before.pinned else before.shares, preview=before.preview)
        annotation = (old.get("metadata", {}).get("annotations") or {}).get(ROLLOUT_ANNOTATION)
        return _annotated(kept, annotation) if annotation else kept
    serving = replace(before, newest=name).other
    state = RolloutState(
        old=serving,
        new=name,
        phase=RolloutPhase.HELD,
        traffic={serving: 100},
        reason="rendered for GitOps; waiting for `eaves promote` or `eaves rollout`",
    )
    return _written(new, Plan(state=state, traffic=state.traffic, preview=name))


def set_percent(manifest: Manifest, percent: int) -> dict[str, Any]:
    """Return a Service's manifest in which the newest revision gets a percentage of the requests.

    The rules are those of `knative.rollout.set_percent`.

    Raises:
        InputError: When the percentage isn't from 0 to 100, or the file doesn't name its revision.
        NotFoundError: When there is no other revision to get the rest.
    """
    return _written(manifest, plan_percent(_standing(manifest), percent, 0.0))


def promote(manifest: Manifest) -> dict[str, Any]:
    """Return a Service's manifest in which the newest revision gets all requests.

    The rules are those of `knative.rollout.promote`.

    Raises:
        InputError: When the file doesn't name its revision.
    """
    return _written(manifest, plan_promote(_standing(manifest), 0.0))


def rollback(manifest: Manifest, *, undo: bool = True) -> dict[str, Any]:
    """Return a Service's manifest in which the previous revision gets all requests again.

    The rules are those of `knative.rollout.rollback`.

    Raises:
        InputError: When the file doesn't name its revision.
        NotFoundError: When there is no revision before it.
    """
    return _written(manifest, plan_rollback(_standing(manifest), 0.0, undo=undo))


def _standing(manifest: Manifest) -> RolloutStatus:
    name, entries = _revision(manifest), manifest.get("spec", {}).get("traffic")
    traffic = parse_traffic(entries) or {LATEST: 100}
    state, fault = parse_annotation(manifest)
    return RolloutStatus(
        name=str(manifest.get("metadata", {}).get("name", "")),
        newest=name,
        traffic=traffic,
        shares=resolve_latest(traffic, name),
        preview=parse_preview(entries),
        state=state,
        fault=fault,
    )


def _revision(manifest: Manifest) -> str:
    name = manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("name")
    if not name:
        raise InputError(
            "the file does not name its revision (spec.template.metadata.name), so no share can be set",
            hint="render the file with `eaves render --gitops`",
        )
    return str(name)


def _written(manifest: Manifest, plan: Plan | None) -> dict[str, Any]:
    """Return a copy of the file's Service with the traffic and state of a plan.

    The state has no history and no time, which Git records, so equal commands give equal files.
    """
    if plan is None or plan.traffic is None:
        return copy.deepcopy(dict(manifest))
    changed = with_traffic(manifest, plan.traffic, preview=plan.preview)
    return _annotated(changed, render_state(replace(plan.state, history=(), since=0.0)))


def _annotated(manifest: dict[str, Any], annotation: str) -> dict[str, Any]:
    metadata = manifest.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), ROLLOUT_ANNOTATION: annotation}
    return manifest
