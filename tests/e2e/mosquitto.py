"""An MQTT broker in a namespace: mosquitto with TLS and a password, and its own clients beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.resources.pod import build_security
from knative.status.site_status import Kubectl
from tests.e2e.harness import MANAGER, is_pod_ready
from tests.inputs.certificates import make_certificate
from tests.waiting import wait_until

NAME, USER = "mosquitto", "gateway"
PLAIN, TLS = 1883, 8883
CONFIG = f"""
listener {PLAIN}
listener {TLS}
certfile /config/tls.crt
keyfile /config/tls.key
allow_anonymous false
password_file /config/passwords
persistence false
log_dest stderr
"""
_ROUNDS = 101
"""Rounds of mosquitto_passwd's hash. Source: mosquitto, apps/mosquitto_passwd, PW_DEFAULT_ITERATIONS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosquitto:
    """A broker that runs.

    Attributes:
        cluster: With its namespace.
        kubectl: How its clients are started.
        password: Password of the broker's user.
        authority: File with the certificate that signed its own.
    """

    cluster: Cluster
    kubectl: Kubectl
    password: str
    authority: Path

    @property
    def host(self) -> str:
        """Its name in the cluster's DNS."""
        return f"{NAME}.{self.cluster.namespace}.svc.cluster.local"

    def make_secret(self, name: str) -> None:
        """Create a Secret with the broker's user, password and authority for its clients."""
        data = {"username": USER, "password": self.password, "ca.crt": self.authority.read_text()}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}, manager=MANAGER
        )

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish one message with QoS 1, from beside the broker."""
        self._run("mosquitto_pub", "-q", "1", "-t", topic, "-s", stdin=payload)

    def read_retained(self, topic: str) -> list[dict[str, Any]]:
        """The retained messages under a topic filter: topic, payload and properties of each."""
        done = self._run("mosquitto_sub", "-V", "mqttv5", "-W", "2", "-t", topic, "-F", "%j", codes=(0, 27))
        return [json.loads(line) for line in done.splitlines()]

    def _run(self, program: str, *words: str, stdin: bytes = b"", codes: Sequence[int] = (0,)) -> str:
        login = ("-h", "127.0.0.1", "-p", str(PLAIN), "-u", USER, "-P", self.password)
        where = ["--namespace", self.cluster.namespace, "exec", "-i", NAME, "--", program, *login, *words]
        config = [f"--kubeconfig={self.kubectl.kubeconfig}"] if self.kubectl.kubeconfig else []
        done = subprocess.run(["kubectl", *config, *where], input=stdin, capture_output=True, timeout=60, check=False)
        assert done.returncode in codes, done.stderr
        return done.stdout.decode()


def start_mosquitto(cluster: Cluster, image: str, folder: Path, kubeconfig: Path | None) -> Mosquitto:
    """Run a broker in the namespace.

    Args:
        cluster: With the namespace.
        image: A container image with mosquitto and its clients.
        folder: For its certificate.
        kubeconfig: Kubeconfig of the cluster; None means kubectl's own choice.
    """
    password = secrets.token_hex(8)
    host = f"{NAME}.{cluster.namespace}.svc.cluster.local"
    certificate, key = make_certificate(folder / "certificate", host)
    files = {
        "mosquitto.conf": CONFIG,
        "passwords": f"{USER}:{_hash(password)}\n",
        "tls.crt": certificate.read_text(),
        "tls.key": key.read_text(),
    }
    container = {
        "name": NAME,
        "image": image,
        "command": ["/usr/sbin/mosquitto", "-c", "/config/mosquitto.conf"],
        "readinessProbe": {"tcpSocket": {"port": PLAIN}, "periodSeconds": 1},
        "securityContext": {**build_security(), "runAsUser": 65532},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "securityContext": {"fsGroup": 65532},
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "config", "secret": {"secretName": NAME}}],
    }
    labels = {"app": NAME}
    ports = [{"name": "plain", "port": PLAIN}, {"name": "tls", "port": TLS}]
    for manifest in (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": ports},
        },
    ):
        cluster.apply(manifest, manager=MANAGER)
    wait_until(lambda: is_pod_ready(cluster.get(POD, NAME)), 120, pause_s=0.5, what="the MQTT broker")
    return Mosquitto(cluster=cluster, kubectl=Kubectl(kubeconfig=kubeconfig), password=password, authority=certificate)


def _hash(password: str) -> str:
    """Hash a password as mosquitto_passwd does: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 64)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
