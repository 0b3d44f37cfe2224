"""What may be the name of a Kubernetes object."""

from __future__ import annotations

from eaves.base.names import SUBDOMAIN_PATTERN


def find_object_fault(name: str) -> str:
    """Why a Kubernetes object can't have this name; empty when it can, or when there is none."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be the name of a Kubernetes object: a-z, 0-9, '-' and '.', no more than 253 (got {name!r})"
