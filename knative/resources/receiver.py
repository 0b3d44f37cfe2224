"""Builders of a receiver on a cluster: a StatefulSet with a queue on a volume, behind a Service that passes TLS on.

A receiver belongs to no app: many sites send to it, and it runs in the cloud, where there may be no function.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from eaves.admin.agent import LIVE
from eaves.config import iter_leaves
from eaves.credentials.folder import AUTHORITIES, CERTIFICATE, KEY
from eaves.link.paths import HEALTH
from eaves.platform.quantities import find_room
from eaves.receiver.settings import ReceiverSettings
from knative.client.kinds import (
    BROKER,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    SINK_BINDING,
    STATEFUL_SET,
    ObjectKind,
)
from knative.resources.fields.labels import MANAGED_LABEL, MANAGED_VALUE, PART_LABEL
from knative.resources.fields.metadata import reference
from knative.resources.fields.pod import USER, build_env, build_security, build_temporary
from knative.resources.receiver_settings import ReceiverDeployment

PART = CONTAINER = "receiver"
INSTANCE_LABEL = "app.kubernetes.io/instance"
EVENTS_PORT, METRICS_PORT = 8443, 9090
CREDENTIALS, SITES, SPOOL, FOLDER = "/credentials", "/sites", "/spool", "/received"
MEMORY = "1Gi"
"""Memory limit of a receiver's pod, for requests of 64 MB in total that are read, unpacked and stored at the same
time."""
_OWNER_READS = 0o400
_ENV = {leaf.path: leaf.env for leaf in iter_leaves(ReceiverSettings)}
_PROBE = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 20}
"""Liveness probe that fails after 10 minutes, since reading a damaged spool of gigabytes may take that long."""


def build_receiver(wanted: ReceiverDeployment) -> Iterator[dict[str, Any]]:
    """Build every object of a receiver in the order of applying, except the Secrets that it needs."""
    yield {**_object(SERVICE_ACCOUNT, wanted), "automountServiceAccountToken": False}
    yield _policy(wanted)
    yield _service(wanted)
    if wanted.broker:
        yield _binding(wanted)
    yield _stateful_set(wanted)


def _object(kind: ObjectKind, wanted: ReceiverDeployment) -> dict[str, Any]:
    where = {"namespace": wanted.namespace} if wanted.namespace else {}
    metadata = {"name": wanted.name, **where, "labels": _labels(wanted)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _labels(wanted: ReceiverDeployment) -> dict[str, str]:
    return {MANAGED_LABEL: MANAGED_VALUE, **_selector(wanted)}


def _selector(wanted: ReceiverDeployment) -> dict[str, str]:
    return {PART_LABEL: PART, INSTANCE_LABEL: wanted.name}


def _policy(wanted: ReceiverDeployment) -> dict[str, Any]:
    """Build the NetworkPolicy that admits requests of sites, and requests for metrics.

    Sites connect from any address; the receiver checks their token or certificate.
    """
    return {
        **_object(NETWORK_POLICY, wanted),
        "spec": {
            "podSelector": {"matchLabels": _selector(wanted)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"protocol": "TCP", "port": EVENTS_PORT}]},
                {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": METRICS_PORT}]},
            ],
        },
    }


def _service(wanted: ReceiverDeployment) -> dict[str, Any]:
    ports = [{"name": "https", "port": 443, "targetPort": "events"}]
    kind = {} if wanted.service_type == "ClusterIP" else {"type": wanted.service_type}
    return {**_object(SERVICE, wanted), "spec": {**kind, "selector": _selector(wanted), "ports": ports}}


def _binding(wanted: ReceiverDeployment) -> dict[str, Any]:
    """Build the SinkBinding that sets the variable `K_SINK` of the receiver to the address of its Broker."""
    sink = {"ref": reference(BROKER, wanted.broker, wanted.namespace)}
    subject = reference(STATEFUL_SET, wanted.name, wanted.namespace)
    return {**_object(SINK_BINDING, wanted), "spec": {"subject": subject, "sink": sink}}


def _stateful_set(wanted: ReceiverDeployment) -> dict[str, Any]:
    claims = [_claim("spool", wanted.spool_size)]
    if wanted.folder_size:
        claims.append(_claim("received", wanted.folder_size))
    return {
        **_object(STATEFUL_SET, wanted),
        "spec": {
            "replicas": 1,
            "serviceName": wanted.name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": _selector(wanted)},
            "template": {"metadata": {"labels": _labels(wanted)}, "spec": _pod(wanted)},
            "volumeClaimTemplates": claims,
        },
    }


def _claim(name: str, size: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def _pod(wanted: ReceiverDeployment) -> dict[str, Any]:
    volume, mount = build_temporary()
    mounts = [
        mount,
        {"name": "spool", "mountPath": SPOOL},
        {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
        {"name": "sites", "mountPath": SITES, "readOnly": True},
    ]
    if wanted.folder_size:
        mounts.append({"name": "received", "mountPath": FOLDER})
    container = {
        "name": CONTAINER,
        "image": wanted.image,
        "command": ["python", "-P", "-m", "eaves.receiver"],
        "env": build_env(_variables(wanted)),
        "ports": [
            {"name": "events", "containerPort": EVENTS_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": {"httpGet": {"path": HEALTH, "port": "events", "scheme": "HTTPS"}, "periodSeconds": 10},
        "livenessProbe": {"httpGet": {"path": LIVE, "port": "metrics"}, **_PROBE},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": MEMORY}},
        "securityContext": build_security(),
        "volumeMounts": mounts,
    }
    pull = {"imagePullSecrets": [{"name": wanted.pull_secret}]} if wanted.pull_secret else {}
    sites = {"name": "sites", "secret": {"secretName": wanted.sites_secret, "defaultMode": _OWNER_READS}}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": wanted.name,
        "securityContext": {"fsGroup": USER},
        **pull,
        "containers": [container],
        "volumes": [volume, _certificates(wanted), sites],
    }


def _certificates(wanted: ReceiverDeployment) -> dict[str, Any]:
    """Build the volume with the server's certificate and the authorities that sign the sites' certificates.

    They come from two Secrets. The `ca.crt` that cert-manager writes beside the server's certificate isn't used: it is
    the authority that signed the server's certificate, and the owner of another certificate of that authority is not a
    site.
    """
    files = [{"key": name, "path": name} for name in (CERTIFICATE, KEY)]
    sources = [{"secret": {"name": wanted.tls_secret, "items": files}}]
    if wanted.client_ca_secret:
        authorities = [{"key": AUTHORITIES, "path": AUTHORITIES}]
        sources.append({"secret": {"name": wanted.client_ca_secret, "items": authorities}})
    return {"name": "credentials", "projected": {"defaultMode": _OWNER_READS, "sources": sources}}


def _variables(wanted: ReceiverDeployment) -> dict[str, str]:
    """Build the environment variables of the receiver's process."""
    values = {
        "host": "0.0.0.0",  # noqa: S104 - the pod's own; sites, the kubelet and metrics scrapers connect from outside
        "port": str(EVENTS_PORT),
        "health_port": str(METRICS_PORT),
        "credentials": CREDENTIALS,
        "sites": SITES,
        "spool": f"{SPOOL}/receiver.db",
        **find_room(wanted.spool_size),
    }
    if wanted.functions:
        values["functions"] = json.dumps(wanted.addresses())
        values["function_timeout_s"] = f"{wanted.function_timeout_s:g}"
    if wanted.sink:
        values["sink"] = wanted.sink
    if wanted.folder_size:
        values["folder"] = FOLDER
    return {_ENV[path]: value for path, value in values.items()}
