"""Knative's SinkBinding controller, which changes variables of what it binds by their place in its own, older copy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.fakes.kubernetes.cluster import FakeCluster

SINK = "K_SINK"
_OURS = (SINK, "K_CE_OVERRIDES")
Object = dict[str, Any]


class LateSinkBindings:
    """Controller that reads objects only on request, so that its copy is as old as a test wants.

    Source: knative.dev/pkg, webhook/psbinding/reconciler.go (`ReconcileSubject`); knative/eventing,
    pkg/apis/sources/v1/sinkbinding_lifecycle.go (`Do` takes the variables out and appends them).

    Args:
        server: The API server.
        namespace: Namespace of the SinkBindings and of what they bind.
    """

    def __init__(self, server: FakeCluster, namespace: str) -> None:
        self._server, self._namespace = server, namespace
        self._copies: dict[tuple[str, str], Object] = {}

    def look(self) -> None:
        """See every StatefulSet and DaemonSet as it is now."""
        for kind in ("apps/v1/StatefulSet", "apps/v1/DaemonSet"):
            for one in self._server.all(kind, namespace=self._namespace):
                self._copies[kind, one["metadata"]["name"]] = copy.deepcopy(one)

    def bind(self) -> None:
        """Write each sink into what is bound: what differs in the copy, by its place there."""
        for binding in self._server.all("sources.knative.dev/v1/SinkBinding", namespace=self._namespace):
            subject = binding["spec"]["subject"]
            key = f"{subject['apiVersion']}/{subject['kind']}", subject["name"]
            seen = self._copies.get(key)
            if seen is None:
                continue
            before = _variables(seen)
            values = {SINK: _address(binding["spec"]["sink"]["ref"]), "K_CE_OVERRIDES": ""}
            after = [one for one in before if one["name"] not in _OURS]
            after += [{"name": name, "value": value} for name, value in values.items()]
            now = self._server.get(*key, namespace=self._namespace)
            variables = _variables(now)
            variables.sort(key=lambda one: one["name"] in _OURS)  # the webhook has put them behind the others
            for place, (old, new) in enumerate(zip(before, after, strict=False)):
                if old != new:
                    variables[place]["value"] = new["value"]
            variables += after[len(before) :]
            self._server.put(now, manager="controller", namespace=self._namespace)


def _variables(workload: Mapping[str, Any]) -> list[Object]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    found: list[Object] = container["env"]
    return found


def _address(reference: Mapping[str, str]) -> str:
    return f"http://{reference['kind'].lower()}.{reference['name']}/"
