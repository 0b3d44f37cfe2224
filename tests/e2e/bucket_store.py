"""An object store with the S3 API in a namespace: moto's server in a pod, with one bucket."""

import json
from collections.abc import Mapping
from pathlib import Path

from knative.client.cluster import Cluster
from tests.e2e.pods import make_config_map, start_server

STORE, PORT, BUCKET = "store", 5000, "photos"
SCRIPT = Path(__file__).with_name("signing_store.py")
"""Script of the store that checks signatures; the store's container image has its libraries."""
ANY_KEY = {"access_key": "AKIAEAVESTEST", "secret_key": "for-tests-only"}
"""Key for a store that checks no signatures."""


def start_store(cluster: Cluster, image: str) -> str:
    """Run a store that checks no signatures, with an empty bucket; its HOST:PORT. `put` fills it."""
    host = start_server(cluster, STORE, image, ["moto_server", "-H", "0.0.0.0", "-p", str(PORT)], {PORT: PORT})
    put(cluster, {"": b""})
    return f"{host}:{PORT}"


def start_signing_store(cluster: Cluster, image: str) -> tuple[str, dict[str, str]]:
    """Run a store that checks signatures, with an empty bucket; its HOST:PORT, and the files of its only key."""
    script = make_config_map(cluster, STORE, {SCRIPT.name: SCRIPT.read_bytes()})
    command = ["python", "-I", f"/script/{SCRIPT.name}", str(PORT), BUCKET]
    host = start_server(cluster, STORE, image, command, {PORT: PORT}, volumes={"script": script})
    (key,) = (json.loads(line) for line in cluster.logs(STORE) if line.startswith('{"access_key"'))
    return f"{host}:{PORT}", key


def put(cluster: Cluster, objects: Mapping[str, bytes]) -> None:
    """Store objects by key; the empty key makes the bucket. Only a store that checks no signatures takes them."""
    for key, data in objects.items():
        path = f"/{BUCKET}/{key}" if key else f"/{BUCKET}"
        answer = cluster.proxy(f"pods/{STORE}:{PORT}", path, method="PUT", body=data)
        assert answer.status < 300, answer.body
