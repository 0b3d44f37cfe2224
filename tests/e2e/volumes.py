"""Volumes with something in them: small pods put files there, and clear folders of nodes away."""

import io
import itertools
import tarfile
from collections.abc import Mapping
from typing import Any

from knative.client.cluster import Cluster
from knative.client.kinds import CLAIM, CONFIG_MAP, NAMESPACE, POD, SERVICE_ACCOUNT
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE
from knative.resources.pod import USER
from tests.e2e.pods import apply, make_config_map, pod_phase, start_pod
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
    apply(cluster, CLAIM, name, spec=spec)


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
    volumes = {"from": make_config_map(cluster, name, {"files.tar": packed.getvalue()}), "to": volume}
    # Folders of nodes are root's.
    _run(cluster, name, image, [UNPACK], volumes, user=0 if "hostPath" in volume else USER)
    cluster.delete(CONFIG_MAP, name)


def make_node_folder(cluster: Cluster, path: str, image: str) -> None:
    """Make a folder of the node, and the namespace of agents on nodes as a deploy makes it.

    The pod of an agent waits for its folder, which the kubelet doesn't make.
    """
    labels = {MANAGED_LABEL: MANAGED_VALUE, "pod-security.kubernetes.io/enforce": "privileged"}
    apply(cluster, NAMESPACE, cluster.namespace, labels=labels)
    wait_until(lambda: cluster.get(SERVICE_ACCOUNT, "default"), 60, pause_s=0.2, what="the namespace's account")
    put_files(cluster, on_node(path), {"readme.txt": b"made before the deploy\n"}, image)


def clear_node(cluster: Cluster, parent: str, folders: list[str], image: str) -> None:
    """Remove folders of the node, as root."""
    _run(cluster, f"clear-{next(_numbers)}", image, [CLEAR, *folders], {"to": on_node(parent)}, user=0)


def _run(
    cluster: Cluster, name: str, image: str, words: list[str], volumes: Mapping[str, Mapping[str, Any]], *, user: int
) -> None:
    """A pod to its end."""
    start_pod(cluster, name, image, ["python", "-I", "-c", *words], volumes=volumes, user=user)
    wait_until(lambda: pod_phase(cluster, name) in ("Succeeded", "Failed"), 120, pause_s=0.5, what=f"the pod {name}")
    assert pod_phase(cluster, name) == "Succeeded", cluster.logs(name)
    cluster.delete(POD, name)
