"""Which revision gets which share of the requests: what `spec.traffic` says, and how it is written. Pure.

A revision that isn't ready must not stand in that list, not even at 0 %: Knative then leaves the whole route as it is
until all of them are. So what is rolled back from is taken out of it, and nothing is put in before it is ready.

Source: knative/serving, pkg/reconciler/route/traffic/traffic.go (`addRevisionTarget`, `build`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eaves.errors import InputError

LATEST = ""
"""Stands for a revision's name where a share follows whatever revision became ready last."""
NEXT_TAG = "next"
"""Of a revision at 0 % that people may try: it then has an address of its own, `next-NAME`."""

Traffic = Mapping[str, int]
"""Revision to percent, only what is above 0."""


def parse_traffic(entries: object) -> dict[str, int]:
    """What `spec.traffic` says; entries that make no sense count as nothing."""
    shares: dict[str, int] = {}
    for entry in _mappings(entries):
        percent = entry.get("percent")
        if type(percent) is int and percent > 0:
            revision = LATEST if entry.get("latestRevision") else str(entry.get("revisionName") or LATEST)
            shares[revision] = shares.get(revision, 0) + percent
    return shares


def parse_preview(entries: object) -> str:
    """The revision that `spec.traffic` has at 0 % for people to try; empty: none."""
    for entry in _mappings(entries):
        if entry.get("tag") == NEXT_TAG and not entry.get("percent"):
            return str(entry.get("revisionName") or "")
    return ""


def resolve_latest(traffic: Traffic, latest_ready: str) -> dict[str, int]:
    """The same with the name of the revision that `LATEST` is now; without that share while there is none."""
    shares: dict[str, int] = {}
    for revision, percent in traffic.items():
        if name := revision or latest_ready:
            shares[name] = shares.get(name, 0) + percent
    return shares


def build_traffic(traffic: Traffic, *, preview: str = "") -> list[dict[str, Any]]:
    """The value of `spec.traffic`.

    Args:
        traffic: Who gets what.
        preview: A revision that gets nothing but an address of its own.

    Raises:
        InputError: When the shares aren't from 0 to 100, or not 100 together; Knative refuses them too.
    """
    if sum(traffic.values()) != 100 or any(not 0 <= percent <= 100 for percent in traffic.values()):
        said = ", ".join(f"{revision or 'the latest'} {percent} %" for revision, percent in traffic.items())
        raise InputError(f"shares of requests must be 100 % together (got {said or 'none'})")
    # Without `latestRevision` Knative's webhook adds it, and what is applied would never equal what is there.
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
    """Two revisions that share all requests; of 0 % and 100 % one remains."""
    return {revision: share for revision, share in ((old, 100 - percent), (new, percent)) if share}


def find_largest_share(traffic: Traffic, *, apart_from: str = "") -> str:
    """The revision with the largest share; empty: none."""
    others = {revision: percent for revision, percent in traffic.items() if revision and revision != apart_from}
    return max(others, key=lambda revision: others[revision], default="")


def render_traffic(traffic: Traffic) -> str:
    """For people."""
    return ", ".join(f"{revision or 'the latest'} {percent} %" for revision, percent in traffic.items()) or "nobody"


def _mappings(entries: object) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
