"""An MQTT broker in a namespace: mosquitto with TLS and a password, and its own clients beside it."""

import base64
import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.places import Place
from tests.e2e.pods import make_secret, start_server
from tests.inputs.certificates import make_certificate

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
        place: Place in whose namespace it is.
        password: Password of the broker's user.
        authority: File with the certificate that signed its own.
    """

    place: Place
    password: str
    authority: Path

    @property
    def host(self) -> str:
        """Its name in the cluster's DNS."""
        return host_of(self.place)

    def make_secret(self, name: str, password: str = "") -> None:
        """Create a Secret with the broker's user, password, or another one, and authority for its clients."""
        data = {"username": USER, "password": password or self.password, "ca.crt": self.authority.read_text()}
        make_secret(self.place.cluster, name, data)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish one message with QoS 1, from beside the broker."""
        self._run("mosquitto_pub", "-q", "1", "-t", topic, "-s", stdin=payload)

    def read_retained(self, topic: str) -> list[dict[str, Any]]:
        """The retained messages under a topic filter: topic, payload and properties of each."""
        done = self._run("mosquitto_sub", "-V", "mqttv5", "-W", "2", "-t", topic, "-F", "%j", codes=(0, 27))
        return [json.loads(line) for line in done.splitlines()]

    def _run(self, program: str, *words: str, stdin: bytes = b"", codes: Collection[int] = (0,)) -> str:
        login = ("-h", "127.0.0.1", "-p", str(PLAIN), "-u", USER, "-P", self.password)
        return self.place.kubectl("exec", "-i", NAME, "--", program, *login, *words, stdin=stdin, codes=codes)


def start_mosquitto(place: Place, image: str) -> Mosquitto:
    """Run a broker in a place's namespace, in a container image with mosquitto and its clients."""
    password = secrets.token_hex(8)
    certificate, key = make_certificate(place.folder / "certificate", host_of(place))
    files = {
        "mosquitto.conf": CONFIG,
        "passwords": f"{USER}:{_hash(password)}\n",
        "tls.crt": certificate.read_text(),
        "tls.key": key.read_text(),
    }
    command = ["/usr/sbin/mosquitto", "-c", "/config/mosquitto.conf"]
    volumes = {"config": make_secret(place.cluster, NAME, files)}
    start_server(place.cluster, NAME, image, command, {PLAIN: PLAIN, TLS: TLS}, volumes=volumes)
    return Mosquitto(place=place, password=password, authority=certificate)


def host_of(place: Place) -> str:
    """Name of a place's broker in the cluster's DNS."""
    return f"{NAME}.{place.cluster.namespace}.svc.cluster.local"


def _hash(password: str) -> str:
    """Hash a password as mosquitto_passwd does: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 64)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
