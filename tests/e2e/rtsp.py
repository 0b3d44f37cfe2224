"""A camera in a namespace: GStreamer's RTSP server with a password, which plays a video again and again."""

import json
import secrets
from dataclasses import dataclass

from knative.client.cluster import Cluster
from knative.client.kinds import POD
from tests.e2e.pods import make_config_map, make_secret, start_server
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
        make_secret(self.cluster, name, {"username": USER, "password": password or self.password})

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        command = [PYTHON, "-I", "/config/server.py", "/config/config.json"]
        volumes = {"config": {"projected": {"sources": [{"configMap": {"name": NAME}}, {"secret": {"name": NAME}}]}}}
        start_server(self.cluster, NAME, self.image, command, {PORT: PORT}, volumes=volumes)

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
    make_secret(cluster, NAME, {"config.json": json.dumps(config)})
    files = {"server.py": SCRIPT.read_bytes(), "video.json": described.encode(), "video.bin": content}
    make_config_map(cluster, NAME, files)
    camera.start()
    return camera
