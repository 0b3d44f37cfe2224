"""Traffic: the share of requests of each revision, as in the field `spec.traffic` of a Knative Service. Pure.

A revision that isn't ready must not be in `spec.traffic`, not even at 0 %: Knative then leaves the whole route
unchanged until all revisions in it are ready. So a revision that is rolled back is removed from `spec.traffic`, and a
revision is added only when it is ready.

Source: knative/serving, pkg/reconciler/route/traffic/traffic.go (`addRevisionTarget`, `build`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.errors import InputError

LATEST = ""
"""Key of a traffic's share that belongs to the latest ready revision, whatever its name."""
NEXT_TAG = "next"
"""Tag in `spec.traffic` of a revision at 0 % that users can try; the revision then has an address of its own,
`next-NAME`."""

Traffic = Mapping[str, int]
"""Percent of requests by revision; it holds only shares above 0."""


def parse_traffic(entries: object) -> dict[str, int]:
    """Parse `spec.traffic` of a Service; invalid entries are ignored."""
    shares: dict[str, int] = {}
    for entry in _mappings(entries):
        percent = entry.get("percent")
        if type(percent) is int and percent > 0:
            revision = LATEST if entry.get("latestRevision") else str(entry.get("revisionName") or LATEST)
            shares[revision] = shares.get(revision, 0) + percent
    return shares


def parse_preview(entries: object) -> str:
    """Return the revision that has an address of its own and 0 % of the requests; empty when there is none."""
    for entry in _mappings(entries):
        if entry.get("tag") == NEXT_TAG and not entry.get("percent"):
            return str(entry.get("revisionName") or "")
    return ""


def resolve_latest(traffic: Traffic, latest_ready: str) -> dict[str, int]:
    """Replace `LATEST` by the name of the latest ready revision; drop its share while there is no such revision."""
    shares: dict[str, int] = {}
    for revision, percent in traffic.items():
        if name := revision or latest_ready:
            shares[name] = shares.get(name, 0) + percent
    return shares


def build_traffic(traffic: Traffic, *, preview: str = "") -> list[dict[str, Any]]:
    """Build the value of `spec.traffic`.

    Args:
        traffic: Percent of requests by revision.
        preview: Revision that gets no requests but an address of its own; empty for none.

    Raises:
        InputError: When a share isn't from 0 to 100, or the shares aren't 100 together; Knative refuses such traffic
            too.
    """
    if sum(traffic.values()) != 100 or any(not 0 <= percent <= 100 for percent in traffic.values()):
        shown = ", ".join(f"{revision or 'the latest'} {percent} %" for revision, percent in traffic.items())
        raise InputError(f"shares of requests must add up to 100 % (got {shown or 'none'})")
    # Knative's webhook adds a missing `latestRevision`, and then the applied value would always differ.
    entries: list[dict[str, Any]] = [
        {"latestRevision": False, "percent": percent, "revisionName": revision}
        if revision
        else {"latestRevision": True, "percent": percent}
        for revision, percent in traffic.items()
        if percent
    ]
    if preview and preview not in traffic:
        entries.append({"latestRevision": False, "percent": 0, "revisionName": preview, "tag": NEXT_TAG})
    return entries


def split_traffic(new: str, percent: int, old: str) -> dict[str, int]:
    """Return traffic in which `new` gets a share of the requests and `old` the rest; a share of 0 % is left out."""
    return {revision: share for revision, share in ((old, 100 - percent), (new, percent)) if share}


def find_largest_share(traffic: Traffic, *, apart_from: str = "") -> str:
    """Return the revision with the largest share, except the one that `apart_from` names; empty when there is none."""
    others = {revision: percent for revision, percent in traffic.items() if revision and revision != apart_from}
    return max(others, key=lambda revision: others[revision], default="")


def render_traffic(traffic: Traffic) -> str:
    """Render traffic as a text for people."""
    return ", ".join(f"{revision or 'the latest'} {percent} %" for revision, percent in traffic.items()) or "nobody"


def _mappings(entries: object) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
