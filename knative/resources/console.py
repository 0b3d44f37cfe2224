"""Builders of a console at a site: a Deployment behind a Service, with the rights to read the site and nothing else.

A console belongs to no app: it shows all apps of its namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.config import iter_leaves
from eaves.credentials.folder import CERTIFICATE, KEY
from knative.client.kinds import (
    DEPLOYMENT,
    NETWORK_POLICY,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    TRIGGER,
    ObjectKind,
)
from knative.resources.console_settings import ConsoleDeployment, SiteConsoleSettings
from knative.resources.fields.labels import MANAGED_LABEL, MANAGED_VALUE, PART_LABEL
from knative.resources.fields.metadata import reference
from knative.resources.fields.network_peers import EVENTING_NAMESPACE, build_namespace_peer
from knative.resources.fields.pod import USER, build_env, build_security, build_temporary

PART = CONTAINER = "console"
INSTANCE_LABEL = "app.kubernetes.io/instance"
PAGES_PORT, EVENTS_PORT = 8443, 8080
CREDENTIALS, DATA = "/credentials", "/data"
PASSWORD = "password"  # noqa: S105 - the name of a file
MEMORY = "256Mi"
"""Memory limit of a console's pod: the process, 16 MB of recent images, and one image that is being decoded."""
_OWNER_READS = 0o400
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(SiteConsoleSettings)}
_READS = ["get", "list"]
_ROLL_OUT = (
    ("serving.knative.dev", ["services"], ["patch", "watch"]),
    ("apps", ["daemonsets"], ["delete"]),
    ("apps", ["deployments", "replicasets"], ["list"]),  # why a revision doesn't become ready
    ("", ["configmaps"], ["patch"]),
)
"""Rights to change the shares of requests, as `eaves promote` and `eaves rollback` need them."""
_READ = (
    ("serving.knative.dev", ["services", "revisions"], _READS),
    ("autoscaling.internal.knative.dev", ["podautoscalers"], _READS),
    ("eventing.knative.dev", ["brokers", "triggers", "eventtypes"], _READS),
    ("sources.knative.dev", ["containersources", "sinkbindings"], _READS),
    ("sinks.knative.dev", ["jobsinks"], _READS),
    ("apps", ["statefulsets", "daemonsets"], _READS),
    ("", ["configmaps", "pods", "pods/log", "events"], _READS),
)


def build_console(wanted: ConsoleDeployment) -> Iterator[dict[str, Any]]:
    """Build every object of a console in the order of applying, except the Secrets that it needs."""
    yield _object(SERVICE_ACCOUNT, wanted)
    yield _role(wanted)
    yield _role_binding(wanted)
    yield _policy(wanted)
    yield _service(wanted)
    yield _deployment(wanted)
    if wanted.broker:
        yield _trigger(wanted)


def _object(kind: ObjectKind, wanted: ConsoleDeployment) -> dict[str, Any]:
    where = {"namespace": wanted.namespace} if wanted.namespace else {}
    metadata = {"name": wanted.name, **where, "labels": _labels(wanted)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _labels(wanted: ConsoleDeployment) -> dict[str, str]:
    return {MANAGED_LABEL: MANAGED_VALUE, **_selector(wanted)}


def _selector(wanted: ConsoleDeployment) -> dict[str, str]:
    return {PART_LABEL: PART, INSTANCE_LABEL: wanted.name}


def _role(wanted: ConsoleDeployment) -> dict[str, Any]:
    """Build the Role of the console's pod. Agents answer at their pods' addresses, so it needs no port-forward."""
    rights = (*_READ, *(_ROLL_OUT if wanted.writable else ()))
    rules = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rights]
    return {**_object(ROLE, wanted), "rules": rules}


def _role_binding(wanted: ConsoleDeployment) -> dict[str, Any]:
    where = {"namespace": wanted.namespace} if wanted.namespace else {}
    return {
        **_object(ROLE_BINDING, wanted),
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": wanted.name, **where}],
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": wanted.name},
    }


def _policy(wanted: ConsoleDeployment) -> dict[str, Any]:
    """Build the NetworkPolicy that admits browsers, which must log in, and events of Eventing's dispatchers."""
    return {
        **_object(NETWORK_POLICY, wanted),
        "spec": {
            "podSelector": {"matchLabels": _selector(wanted)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"protocol": "TCP", "port": PAGES_PORT}]},
                {
                    "from": [build_namespace_peer(EVENTING_NAMESPACE)],
                    "ports": [{"protocol": "TCP", "port": EVENTS_PORT}],
                },
            ],
        },
    }


def _service(wanted: ConsoleDeployment) -> dict[str, Any]:
    ports = [
        {"name": "https", "port": 443, "targetPort": "pages"},
        {"name": "http", "port": 80, "targetPort": "events"},
    ]
    kind = {} if wanted.service_type == "ClusterIP" else {"type": wanted.service_type}
    return {**_object(SERVICE, wanted), "spec": {**kind, "selector": _selector(wanted), "ports": ports}}


def _trigger(wanted: ConsoleDeployment) -> dict[str, Any]:
    """Build the Trigger that sends a copy of every event to the console, once: a page may miss an event."""
    subscriber = {"ref": reference(SERVICE, wanted.name, wanted.namespace)}
    return {
        **_object(TRIGGER, wanted),
        "spec": {"broker": wanted.broker, "subscriber": subscriber, "delivery": {"retry": 0}},
    }


def _deployment(wanted: ConsoleDeployment) -> dict[str, Any]:
    template = {"metadata": {"labels": _labels(wanted)}, "spec": _pod(wanted)}
    return {
        **_object(DEPLOYMENT, wanted),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(wanted)},
            "template": template,
        },
    }


def _pod(wanted: ConsoleDeployment) -> dict[str, Any]:
    volume, mount = build_temporary()
    container = {
        "name": CONTAINER,
        "image": wanted.image,
        "command": ["python", "-P", "-m", "knative.console"],
        "env": build_env(_variables(wanted)),
        "ports": [
            {"name": "pages", "containerPort": PAGES_PORT},
            {"name": "events", "containerPort": EVENTS_PORT},
        ],
        "readinessProbe": {"tcpSocket": {"port": "pages"}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": "pages"}, "periodSeconds": 30, "failureThreshold": 4},
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": build_security(),
        "volumeMounts": [
            mount,
            {"name": "data", "mountPath": DATA},
            {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
        ],
    }
    pull = {"imagePullSecrets": [{"name": wanted.pull_secret}]} if wanted.pull_secret else {}
    return {
        "enableServiceLinks": False,
        "serviceAccountName": wanted.name,
        "securityContext": {"fsGroup": USER},
        **pull,
        "containers": [container],
        "volumes": [volume, {"name": "data", "emptyDir": {"sizeLimit": wanted.data_size}}, _credentials(wanted)],
    }


def _credentials(wanted: ConsoleDeployment) -> dict[str, Any]:
    """Build the volume with the server's certificate and the password of the pages."""
    certificate = [{"key": name, "path": name} for name in (CERTIFICATE, KEY)]
    sources = [
        {"secret": {"name": wanted.tls_secret, "items": certificate}},
        {"secret": {"name": wanted.password_secret, "items": [{"key": PASSWORD, "path": PASSWORD}]}},
    ]
    return {"name": "credentials", "projected": {"defaultMode": _OWNER_READS, "sources": sources}}


def _variables(wanted: ConsoleDeployment) -> dict[str, str]:
    """Build the environment variables of the console's process."""
    values = {
        "host": "0.0.0.0",  # noqa: S104 - the pod's own; browsers and Eventing's dispatchers connect from outside
        "port": str(PAGES_PORT),
        "events_port": str(EVENTS_PORT),
        "site": wanted.site or wanted.namespace,
        "credentials": CREDENTIALS,
        "data": DATA,
        "read_only": "no" if wanted.writable else "yes",
        "silent_after_s": f"{wanted.silent_after_s:g}",
    }
    return {_ENV[path]: value for path, value in values.items() if value}
