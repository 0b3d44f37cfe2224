"""Volumes with something in them: small pods put files there, and clear folders of nodes away."""

from __future__ import annotations

import base64
import io
import itertools
import tarfile
from collections.abc import Mapping
from typing import Any

from knative.client.cluster import Cluster
from knative.client.kinds import CONFIG_MAP, POD, SERVICE_ACCOUNT
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE
from knative.resources.pod import build_security
from tests.e2e.harness import MANAGER
from tests.waiting import wait_until

UNPACK = """
import os, shutil, tarfile
packed = tarfile.open('/from/files.tar')
packed.extractall('/to/.put', filter='data')
for name in packed.getnames():
    os.makedirs(os.path.dirname('/to/' + name), exist_ok=True)
    os.replace('/to/.put/' + name, '/to/' + name)
shutil.rmtree('/to/.put')
"""
"""Files appear whole: tarfile sets a file's time after it has closed it, and a starved pod may take long in between."""
CLEAR = "import shutil, sys; [shutil.rmtree('/to/' + name) for name in sys.argv[1:]]"
_numbers = itertools.count()


def make_claim(cluster: Cluster, name: str) -> None:
    """A volume of the cluster's default class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    metadata = {"name": name}
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}, manager=MANAGER
    )


def claimed(name: str) -> dict[str, Any]:
    """A claim as a pod's volume."""
    return {"persistentVolumeClaim": {"claimName": name}}


def on_node(path: str) -> dict[str, Any]:
    """A folder of the node as a pod's volume."""
    return {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}


def put_files(cluster: Cluster, volume: Mapping[str, Any], files: Mapping[str, bytes], image: str) -> None:
    """Write files into a volume.

    Args:
        cluster: With the namespace.
        volume: `claimed`, or `on_node`.
        files: Relative path to content; 700 KB together.
        image: A function's container image: it has Python.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    name = f"put-{next(_numbers)}"
    data = {"files.tar": base64.b64encode(packed.getvalue()).decode()}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data}, manager=MANAGER
    )
    source = {"name": "from", "configMap": {"name": name}}
    _run(cluster, name, image, [UNPACK], [source, {"name": "to", **volume}], user=_user(volume))
    cluster.delete(CONFIG_MAP, name)


def make_node_folder(cluster: Cluster, path: str, image: str) -> None:
    """Make a folder of the node, and the namespace of agents on nodes as a deploy makes it.

    The pod of an agent waits for its folder, which the kubelet doesn't make.
    """
    labels = {MANAGED_LABEL: MANAGED_VALUE, "pod-security.kubernetes.io/enforce": "privileged"}
    metadata = {"name": cluster.namespace, "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, manager=MANAGER)
    wait_until(lambda: cluster.get(SERVICE_ACCOUNT, "default"), 60, pause_s=0.2, what="the namespace's account")
    put_files(cluster, on_node(path), {"readme.txt": b"made before the deploy\n"}, image)


def clear_node(cluster: Cluster, parent: str, folders: list[str], image: str) -> None:
    """Remove folders of the node, as root."""
    _run(cluster, f"clear-{next(_numbers)}", image, [CLEAR, *folders], [{"name": "to", **on_node(parent)}], user=0)


def _user(volume: Mapping[str, Any]) -> int | None:
    """Folders of nodes are root's."""
    return 0 if "hostPath" in volume else None


def _run(
    cluster: Cluster, name: str, image: str, words: list[str], volumes: list[dict[str, Any]], *, user: int | None
) -> None:
    """A pod to its end."""
    container = {
        "name": "python",
        "image": image,
        "command": ["python", "-I", "-c", *words],
        "securityContext": build_security(user=user),
        "volumeMounts": [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes],
    }
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": 65532} if user is None else {},
        "volumes": volumes,
    }
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, manager=MANAGER)

    def phase() -> str:
        said = str((cluster.get(POD, name) or {}).get("status", {}).get("phase"))
        return said if said in ("Succeeded", "Failed") else ""

    ended = wait_until(phase, 120, pause_s=0.5, what=f"the pod {name}")
    assert ended == "Succeeded", cluster.logs(name)
    cluster.delete(POD, name)
