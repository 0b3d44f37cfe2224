"""Peers of NetworkPolicies that may connect to pods."""

from __future__ import annotations

from typing import Any

EVENTING_NAMESPACE = "knative-eventing"
"""Namespace of Eventing's dispatchers, which deliver the events that Triggers select."""


def build_namespace_peer(name: str) -> dict[str, Any]:
    """Build the NetworkPolicy peer that selects every pod of a namespace.

    Source: Kubernetes, the label that each namespace carries.
    """
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
