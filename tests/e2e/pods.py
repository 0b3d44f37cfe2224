"""Objects of the tests' own in a cluster: pods that run a program, what they read, and kubectl."""

import base64
import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, POD, SERVICE, ObjectKind
from knative.client.transport import ApiRequest
from knative.resources.pod import USER, build_security
from tests.container_images.packaging import need
from tests.waiting import wait_until

MANAGER = "eaves-tests"
SECRET = ObjectKind("v1", "Secret")
"""A kind of objects that Eaves refers to, and never reads or applies."""


def apply(cluster: Cluster, kind: ObjectKind, name: str, **fields: Any) -> dict[str, Any]:
    """Apply an object with a name, labels if they are given, and further fields such as its spec."""
    metadata = {"name": name, "labels": fields.pop("labels", {})}
    manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}
    return cluster.apply(manifest, manager=MANAGER)


def create_object(cluster: Cluster, kind: ObjectKind, manifest: dict[str, Any], *, manager: str = MANAGER) -> None:
    """Create an object by a POST, as other programs than Eaves do; also of a kind that Eaves doesn't know."""
    transport = cluster._transport
    transport.json(
        ApiRequest(
            call=transport.call,
            method="POST",
            path=kind.path(cluster.namespace),
            query={"fieldManager": manager},
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            body=json.dumps({"apiVersion": kind.api_version, "kind": kind.kind, **manifest}).encode(),
        )
    )


def make_secret(cluster: Cluster, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Create or change a Secret; returns it as a pod's volume."""
    data = {"stringData": dict(files)}
    if cluster.get(SECRET, name) is None:
        create_object(cluster, SECRET, {"metadata": {"name": name}, **data})
    else:
        cluster.patch(SECRET, name, data, manager=MANAGER)
    return {"secret": {"secretName": name}}


def make_config_map(cluster: Cluster, name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Create or change a ConfigMap; returns it as a pod's volume."""
    data = {path: base64.b64encode(content).decode() for path, content in files.items()}
    apply(cluster, CONFIG_MAP, name, binaryData=data)
    return {"configMap": {"name": name}}


def start_pod(
    cluster: Cluster,
    name: str,
    image: str,
    command: Sequence[str],
    *,
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
    user: int = USER,
    port: int = 0,
    **more: Any,
) -> None:
    """Start a pod that runs once, or a server.

    Args:
        cluster: With the namespace.
        name: Name of the pod.
        image: Its container image.
        command: The command's words.
        volumes: Volumes by the name of the folder in / where they are mounted.
        labels: Labels beside `app`, which is the name.
        user: Number of the user; 0 is root.
        port: Port of a server, which is ready when it listens there; 0 means no server.
        more: Further fields of the pod's spec.
    """
    volumes = {"tmp": {"emptyDir": {}}, **(volumes or {})}
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "securityContext": build_security(user=user),
        "volumeMounts": [{"name": folder, "mountPath": f"/{folder}"} for folder in volumes],
    }
    if port:
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "restartPolicy": "Always" if port else "Never",
        "securityContext": {"fsGroup": USER} if user else {},
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": folder, **volume} for folder, volume in volumes.items()],
        **more,
    }
    apply(cluster, POD, name, labels={"app": name, **(labels or {})}, spec=spec)


def start_server(
    cluster: Cluster,
    name: str,
    image: str,
    command: Sequence[str],
    ports: Mapping[int, int],
    *,
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    ready_port: int = 0,
    **more: Any,
) -> str:
    """Run a server and wait until it listens; returns its name in the cluster's DNS.

    Args:
        cluster: With the namespace.
        name: Name of its pod and its Service.
        image: Its container image.
        command: The command's words.
        ports: Ports of the pod by those of the Service.
        volumes: Volumes of the pod, see `start_pod`.
        ready_port: Port that is looked at; by default the first of the pod's.
        more: Further fields of the pod's spec.
    """
    listed = [{"name": f"port-{port}", "port": port, "targetPort": inner} for port, inner in ports.items()]
    apply(cluster, SERVICE, name, spec={"selector": {"app": name}, "ports": listed})
    start_pod(cluster, name, image, command, volumes=volumes, port=ready_port or next(iter(ports.values())), **more)
    wait_until(lambda: is_pod_ready(cluster.get(POD, name)), 180, pause_s=0.5, what=f"the pod {name}")
    return f"{name}.{cluster.namespace}.svc.cluster.local"


def start_script(cluster: Cluster, name: str, image: str, file: str) -> str:
    """Run a server of this folder, which listens on port 8080, as one on port 80; returns its name in DNS."""
    script = make_config_map(cluster, name, {file: Path(__file__).with_name(file).read_bytes()})
    return start_server(
        cluster, name, image, ["python", "-I", f"/script/{file}"], {80: 8080}, volumes={"script": script}
    )


def is_pod_ready(pod: dict[str, Any] | None) -> bool:
    """Whether a pod is there and ready."""
    conditions = (pod or {}).get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_bound(cluster: Cluster, agent: str) -> bool:
    """Whether the agent's pod is the one that has the Broker's address: Knative replaces one that started before."""
    pod = cluster.get(POD, agent) or {"metadata": {}, "spec": {"containers": []}}
    given = {one["name"] for container in pod["spec"]["containers"] for one in container.get("env", ())}
    return "K_SINK" in given and "deletionTimestamp" not in pod["metadata"] and is_pod_ready(pod)


def pod_phase(cluster: Cluster, name: str) -> str:
    """Phase of a pod; empty when there is none."""
    return str((cluster.get(POD, name) or {}).get("status", {}).get("phase", ""))


def run_kubectl(kubeconfig: Path | None, *words: str | Path, stdin: bytes = b"", codes: Collection[int] = (0,)) -> str:
    """What kubectl prints; without a kubeconfig it takes its own choice."""
    where = ["--kubeconfig", str(kubeconfig.absolute())] if kubeconfig else []
    command = [need("kubectl"), *where, *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode in codes, (command, done.stderr)
    return done.stdout.decode()
