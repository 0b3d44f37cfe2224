"""An object store with the S3 API in a namespace: moto's server in a pod, with one bucket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.resources.pod import build_security
from tests.e2e.harness import MANAGER, is_pod_ready
from tests.waiting import wait_until

STORE, PORT, BUCKET = "store", 5000, "photos"
SCRIPT = Path(__file__).with_name("signing_store.py")
"""Script of the store that checks signatures; the store's container image has its libraries."""
ANY_KEY = {"access_key": "AKIAEAVESTEST", "secret_key": "for-tests-only"}
"""Key for a store that checks no signatures."""


def start_store(cluster: Cluster, image: str) -> str:
    """Run a store that checks no signatures, with an empty bucket; its HOST:PORT. `put` fills it."""
    host = _start(cluster, image, ["moto_server", "-H", "0.0.0.0", "-p", str(PORT)])
    put(cluster, {"": b""})
    return host


def start_signing_store(cluster: Cluster, image: str) -> tuple[str, dict[str, str]]:
    """Run a store that checks signatures, with an empty bucket; its HOST:PORT, and the files of its only key."""
    host = _start(cluster, image, ["python", "-I", f"/script/{SCRIPT.name}", str(PORT), BUCKET], SCRIPT)
    lines = cluster.logs(STORE)
    (key,) = (json.loads(line) for line in lines if line.startswith('{"access_key"'))
    return host, key


def make_keys(cluster: Cluster, name: str, files: Mapping[str, str]) -> None:
    """Create or change a Secret."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(files)}, manager=MANAGER
    )


def put(cluster: Cluster, objects: Mapping[str, bytes]) -> None:
    """Store objects by key; the empty key makes the bucket. Only a store that checks no signatures takes them."""
    for key, data in objects.items():
        path = f"/{BUCKET}/{key}" if key else f"/{BUCKET}"
        answer = cluster.proxy(f"pods/{STORE}:{PORT}", path, method="PUT", body=data)
        assert answer.status < 300, answer.body


def _start(cluster: Cluster, image: str, command: list[str], script: Path | None = None) -> str:
    container: dict[str, Any] = {
        "name": STORE,
        "image": image,
        "command": command,
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {**build_security(), "runAsUser": 65532},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    manifests: list[dict[str, Any]] = []
    if script is not None:
        data = {script.name: script.read_text(encoding="utf-8")}
        manifests.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STORE}, "data": data})
        container["volumeMounts"].append({"name": "script", "mountPath": "/script"})
        volumes.append({"name": "script", "configMap": {"name": STORE}})
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": volumes,
    }
    labels, ports = {"app": STORE}, [{"port": PORT, "targetPort": PORT}]
    manifests += [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": STORE, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": STORE},
            "spec": {"selector": labels, "ports": ports},
        },
    ]
    for manifest in manifests:
        cluster.apply(manifest, manager=MANAGER)
    wait_until(lambda: is_pod_ready(cluster.get(POD, STORE)), 120, pause_s=0.5, what="the store")
    return f"{STORE}.{cluster.namespace}.svc.cluster.local:{PORT}"
