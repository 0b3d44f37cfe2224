"""Blobs, and a fake registry that they are pushed to."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from eaves.oci.descriptor import LAYER, Descriptor, Reference
from eaves.oci.layout import Layout, create_layout
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.fakes.http.registry import FakeRegistry, Reply, Request

QUICK = Access(plain_http=True, configs=(Path("/nowhere/config.json"),), pause_s=0.001, read_s=10)


def reach(fake: FakeRegistry, access: Access = QUICK, repository: str = "site/x") -> Registry:
    return Registry(Reference(host=fake.host, repository=repository), access)


def write_blob(folder: Path, content: bytes) -> tuple[Layout, Descriptor]:
    layout = create_layout(folder / "blobs")
    descriptor = Descriptor(media_type=LAYER, digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=len(content))
    layout.write_bytes(content, descriptor)
    return layout, descriptor


def push(fake: FakeRegistry, folder: Path, content: bytes, access: Access = QUICK) -> tuple[Registry, Descriptor, int]:
    layout, descriptor = write_blob(folder, content)
    reported: list[int] = []
    registry = reach(fake, access)
    registry.write(descriptor, layout, reported.append)
    assert fake.content.blobs[descriptor.digest] == content
    return registry, descriptor, sum(reported)


def once(what: str, reply: Reply) -> Callable[[Request], Reply | None]:
    """The first request of a kind gets this reply."""
    left = [reply]
    return lambda request: left.pop() if left and request.what == what else None
