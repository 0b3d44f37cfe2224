"""A camera in a namespace: GStreamer's RTSP server with a password, which plays a video again and again."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass

from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.resources.pod import build_security
from tests.e2e.harness import MANAGER, is_pod_ready
from tests.inputs.videos import Video
from tests.processes.rtsp_server import PYTHON, SCRIPT, write_video
from tests.waiting import wait_until

NAME, USER, PORT = "camera", "viewer", 8554


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCamera:
    """A camera whose server can be ended and started again.

    Attributes:
        cluster: With its namespace.
        image: A container image with GStreamer's RTSP server.
        password: Password of its user.
    """

    cluster: Cluster
    image: str
    password: str

    @property
    def url(self) -> str:
        """Address of its stream, without the login."""
        return f"rtsp://{NAME}.{self.cluster.namespace}.svc.cluster.local:{PORT}/stream"

    def make_secret(self, name: str, *, password: str = "") -> None:
        """Create a Secret with the camera's user and password, or with another password."""
        data = {"username": USER, "password": password or self.password}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}, manager=MANAGER
        )

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        container = {
            "name": NAME,
            "image": self.image,
            "command": [PYTHON, "-I", "/config/server.py", "/config/config.json"],
            "env": [{"name": "HOME", "value": "/tmp"}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            "securityContext": {**build_security(), "runAsUser": 65532},
            "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "tmp", "mountPath": "/tmp"}],
        }
        pod = {
            "automountServiceAccountToken": False,
            "containers": [container],
            "securityContext": {"fsGroup": 65532},
            "terminationGracePeriodSeconds": 0,
            "volumes": [
                {
                    "name": "config",
                    "projected": {"sources": [{"configMap": {"name": NAME}}, {"secret": {"name": NAME}}]},
                },
                {"name": "tmp", "emptyDir": {}},
            ],
        }
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": NAME}}, "spec": pod}
        self.cluster.apply(manifest, manager=MANAGER)
        wait_until(lambda: is_pod_ready(self.cluster.get(POD, NAME)), 120, pause_s=0.2, what="the camera")

    def stop(self) -> None:
        """End the server, and wait until it is gone."""
        self.cluster.delete(POD, NAME)
        wait_until(lambda: self.cluster.get(POD, NAME) is None, 60, pause_s=0.2, what="the end of the camera")


def start_camera(cluster: Cluster, image: str, video: Video) -> ClusterCamera:
    """Run a camera in the namespace.

    Args:
        cluster: With the namespace.
        image: A container image with GStreamer's RTSP server.
        video: What it shows, at most 500 KB.
    """
    camera = ClusterCamera(cluster=cluster, image=image, password=secrets.token_hex(8))
    described, content = write_video(video)
    config = {
        "address": "0.0.0.0",
        "port": PORT,
        "mounts": {"/stream": "/config/video.json"},
        "user": USER,
        "password": camera.password,
        "method": "digest",
        "certificate": [],
    }
    files = {"server.py": SCRIPT.read_text(), "video.json": described}
    ports = [{"port": PORT, "targetPort": PORT}]
    for manifest in (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": files,
            "binaryData": {"video.bin": base64.b64encode(content).decode()},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME},
            "stringData": {"config.json": json.dumps(config)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": ports},
        },
    ):
        cluster.apply(manifest, manager=MANAGER)
    camera.start()
    return camera
