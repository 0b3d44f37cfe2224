"""Who may connect to pods: the parts of NetworkPolicies."""

from __future__ import annotations

from typing import Any

EVENTING_NAMESPACE = "knative-eventing"
"""Where Eventing's dispatchers run, which deliver what Triggers let through."""


def build_namespace_peer(name: str) -> dict[str, Any]:
    """Every pod of a namespace. Source: Kubernetes, the label that each namespace carries."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
