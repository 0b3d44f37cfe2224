"""Pins in a folder of rendered files: a pin's file is kept while the Service's file names a revision that needs it.

A pin's file carries the names of the revisions that it was rendered for, since no other file in the folder connects an
older revision with its container image. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knative.deploy.pins import find_served
from knative.resources.metadata import REVISIONS_ANNOTATION
from knative.resources.pin import is_pin
from knative.rollout.rollout_status import parse_rollout_status

Manifest = Mapping[str, Any]


def keep_pins(manifests: Sequence[Manifest], service: Manifest, before: Sequence[Manifest]) -> list[Manifest]:
    """Return the objects to write, with the pins in the folder that older revisions still need.

    Args:
        manifests: Objects to write.
        service: The Knative Service among them, which names its revision and the traffic.
        before: Objects that the folder holds now.

    Returns:
        The same objects in the same order, the pins of older revisions last.
    """
    if not any(is_pin(one) for one in manifests):
        return list(manifests)
    new = _revision(service)
    needed = _needed(service) | {new}
    known = {str(one["metadata"]["name"]): _revisions(one) & needed for one in before if is_pin(one)}
    rendered = [
        _name_revisions(one, known.pop(str(one["metadata"]["name"]), set()) | {new}) if is_pin(one) else one
        for one in manifests
    ]
    kept = (one for one in before if is_pin(one) and known.get(str(one["metadata"]["name"])))
    return [*rendered, *(_name_revisions(one, known[str(one["metadata"]["name"])]) for one in kept)]


def _needed(service: Manifest) -> set[str]:
    """Return the revisions that get requests according to the Service's file, or would get them after a rollback."""
    new = _revision(service)
    status = {"latestCreatedRevisionName": new, "latestReadyRevisionName": new}
    return find_served(parse_rollout_status({**service, "status": status}))


def _revision(service: Manifest) -> str:
    return str(service["spec"]["template"]["metadata"]["name"])


def _revisions(pin: Manifest) -> set[str]:
    """Return the revisions that a pin was rendered for, from its annotation."""
    return set((pin["metadata"].get("annotations") or {}).get(REVISIONS_ANNOTATION, "").split(",")) - {""}


def _name_revisions(pin: Manifest, revisions: set[str]) -> dict[str, Any]:
    metadata = dict(pin["metadata"])
    annotations = {**(metadata.get("annotations") or {}), REVISIONS_ANNOTATION: ",".join(sorted(revisions))}
    return {**pin, "metadata": {**metadata, "annotations": annotations}}
