"""Environment variables of an agent on a cluster: its settings, and where its events are sent."""

from __future__ import annotations

import json
from typing import Any

from eaves.config import iter_leaves
from eaves.platform import find_timeout_s
from eaves.platform.quantities import find_room
from eaves.platform.relay import NONE
from eaves.sources.settings import AgentSettings
from knative.resources.app.sources import source_values
from knative.resources.fields.credentials import RELAY_FOLDER
from knative.resources.fields.pod import build_env
from knative.resources.relay import sends_to_relay
from knative.settings import SiteSettings
from knative.specs import ClusterApp, ClusterSource

METRICS_PORT = 9090
"""Port where an agent serves /metrics and /health."""
SPOOL = "/spool"
VARIABLES = {leaf.path: leaf.env for leaf in iter_leaves(AgentSettings)}
"""Setting of an agent to its environment variable."""
_DEFAULTS = {leaf.path: leaf.default for leaf in iter_leaves(AgentSettings)}


def build_variables(app: ClusterApp, source: ClusterSource, site: SiteSettings) -> list[dict[str, Any]]:
    """Build an agent's environment variables.

    Their number and order are always the same, with defaults for unused ones.

    Knative's SinkBinding controller appends the variable `K_SINK`, and later changes it by its position in its own copy
    of the list. If the deploy that changes the sink also added a variable, the controller would write the new sink into
    another variable.

    Source: knative.dev/pkg, webhook/psbinding/reconciler.go (`ReconcileSubject`: a JSON patch without a test of the old
    value); seen with Eventing 1.22.
    """
    values = {
        "sources": json.dumps([source_values(source)]),
        "site": app.function.site,
        "spool": f"{SPOOL}/agent.db",
        "host": "0.0.0.0",  # noqa: S104 - the pod's own; the kubelet and metrics scrapers connect from outside the pod
        "port": str(METRICS_PORT),
        **find_room(source.spool_size),
        **_link(app, source),
    }
    own = {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    function = {"name": VARIABLES["function"], "value": _function_address(app, source, site)}
    variables = build_env({VARIABLES[path]: value for path, value in values.items()})
    return [*variables, function] if site.namespace else [*variables, own, function]


def _link(app: ClusterApp, source: ClusterSource) -> dict[str, str]:
    """Build an agent's settings for the link: which images are forwarded, or how a function in the cloud is called."""
    timeout_s = find_timeout_s(app.function.scale.start_timeout_s) if app.cloud_function else _DEFAULTS["timeout_s"]
    sends = sends_to_relay(app, source) and not app.cloud_function
    return {
        "function_credentials": RELAY_FOLDER if app.cloud_function else "",
        "timeout_s": f"{timeout_s:g}",
        "forward_images": app.relay.images if sends else NONE,
    }


def _function_address(app: ClusterApp, source: ClusterSource, site: SiteSettings) -> str:
    """Return the URL of the function that an agent calls; empty when the agent sends images to the Broker.

    If the site has no namespace, the namespace in the URL is that of the pod.
    """
    if app.cloud_function:
        return app.cloud_function.replace("$", "$$")
    if source.through != "function":
        return ""
    return f"http://{app.function.name}.{site.namespace or '$(NAMESPACE)'}.svc/"
