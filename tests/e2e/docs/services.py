"""Container images and servers that pages about a cluster presuppose: a registry that pods reach, wheels, a sink."""

from pathlib import Path
from typing import Any

from eaves.oci.copy import copy_image, open_location
from eaves.oci.layers import wheels
from eaves.oci.registry.transport import Access
from eaves.oci.runtime import find_lock
from knative.client.cluster import Cluster
from tests.container_images.packaging import build_base, this_platform
from tests.e2e.pods import start_script, start_server

FORWARD = """
import asyncio, sys

async def carry(reader, writer):
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()

async def serve(reader, writer):
    near = await asyncio.open_connection('127.0.0.1', int(sys.argv[2]))
    await asyncio.gather(carry(reader, near[1]), carry(near[0], writer), return_exceptions=True)

async def main():
    await (await asyncio.start_server(serve, '0.0.0.0', int(sys.argv[1]))).serve_forever()

asyncio.run(main())
"""
"""Passes connections to a port of the node's own loopback on."""
DISPLAY = """
import http.server, os, signal

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # process 1 has no default action for it

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        print('event', {name.lower(): value for name, value in self.headers.items()}, len(body), flush=True)
        self.send_response(202)
        self.end_headers()

http.server.ThreadingHTTPServer(('', int(os.environ.get('PORT', 8080))), Handler).serve_forever()
"""
"""Prints the attributes of each event, as Knative's event_display does."""
PORT = 35080


def forward_registry(cluster: Cluster, registry: str, image: str) -> str:
    """A name of the registry that pods reach: itself, or, when it listens on the node's loopback, a pod before it.

    Args:
        cluster: With a namespace that lets pods use the node's network.
        registry: HOST/PREFIX.
        image: A container image with Python.
    """
    host, _, prefix = registry.partition("/")
    name, _, port = host.partition(":")
    if name not in ("127.0.0.1", "localhost"):
        return registry
    command = ["python", "-I", "-c", FORWARD, str(PORT), port or "80"]
    return f"{start_server(cluster, 'registry', image, command, {80: PORT}, hostNetwork=True)}/{prefix}"


def serve_wheels(cluster: Cluster, image: str, minor: str, folder: Path) -> dict[str, str]:
    """Put a function's wheels where pods reach them, in a container image with Python; pip's variables for that."""
    start_script(cluster, "wheels", image, "registry_server.py")
    return put_wheels(cluster, "wheels", minor, folder)


def put_wheels(cluster: Cluster, server: str, minor: str, folder: Path) -> dict[str, str]:
    """Put a function's wheels onto a server of files in the namespace; pip's variables for that.

    Args:
        cluster: With the namespace.
        server: Name of the pod of `registry_server.py`.
        minor: Minor version of the trainer's Python, such as 3.13.
        folder: For the wheels; doesn't exist yet.
    """
    folder.mkdir()
    for wheel in wheels.download(find_lock(), this_platform(), minor, folder):
        content, path = wheel.read_bytes(), f"/files/{wheel.name}"
        answer = cluster.proxy(f"pods/{server}:8080", path, method="PUT", body=content, timeout_s=120.0)
        assert answer.status == 201, answer.body
    host = f"{server}.{cluster.namespace}.svc.cluster.local"
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"http://{host}/files/", "PIP_TRUSTED_HOST": host}


def push_display(registry: str, folder: Path) -> str:
    """The reference, by digest, of a container image that prints events.

    Args:
        registry: HOST/PREFIX that this machine pushes to and nodes pull from.
        folder: For the container image; doesn't exist yet.
    """
    return push_base(f"{registry}/display:1", folder, command=["python3", "-c", DISPLAY], user="65532")


def push_base(name: str, folder: Path, **base: Any) -> str:
    """The reference, by digest, of a container image with the Python that runs the tests; `base` as of `build_base`."""
    layout = build_base(folder, plain=True, **base)
    target = open_location(name, Access(plain_http=True))
    descriptor = layout.resolve("base")
    copy_image(layout, target.store, descriptor, name="1")
    assert target.reference is not None
    return str(target.reference.pinned(descriptor.digest))
