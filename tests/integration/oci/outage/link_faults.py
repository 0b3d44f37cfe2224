"""A layer at a registry behind a link with faults."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bench.link.proxy import FaultProxy
from eaves.oci.descriptor import LAYER, Descriptor, Reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from eaves.oci.store.layout import Layout
from tests.fakes.http.registry import FakeRegistry

ROOT = Path(__file__).parents[4]
NOBODY = Path("/nowhere/config.json")
CONTENT = random.Random(9).randbytes(1_300_000)
SIZE = len(CONTENT)
LAYER_OF_IT = Descriptor(media_type=LAYER, digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", size=SIZE)
PULL = (
    "import sys\nfrom pathlib import Path\n"
    "from eaves.oci.descriptor import LAYER, Descriptor\nfrom eaves.oci.store.layout import create_layout\n"
    "from eaves.oci.descriptor import parse_reference\nfrom eaves.oci.registry.registry import Access, Registry\n"
    "access = Access(plain_http=True, config=Path('/nowhere'))\n"
    "layer = Descriptor(media_type=LAYER, digest=sys.argv[3], size=int(sys.argv[4]))\n"
    "create_layout(Path(sys.argv[1])).write(layer, Registry(parse_reference(sys.argv[2]), access))\n"
)


def reach(host: str, **options: object) -> Registry:
    access = Access(plain_http=True, config=NOBODY, **{"pause_s": 0.01, "read_s": 30.0, **options})  # type: ignore[arg-type]
    return Registry(Reference(host=host, repository="site/x"), access)


def through(proxy: FaultProxy, **options: object) -> Registry:
    return reach(f"127.0.0.1:{proxy.port}", **options)


def partial_of(layout: Layout, descriptor: Descriptor = LAYER_OF_IT) -> Path:
    path = layout.blob_path(descriptor.digest)
    return path.with_name(f".part-{path.name}")


def size_of(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def starts(fake: FakeRegistry) -> list[int]:
    """The byte that each request for the layer began with."""
    ranges = (request.headers.get("Range", "bytes=0-") for request in fake.asked("GET blobs"))
    return [int(one.removeprefix("bytes=").removesuffix("-")) for one in ranges]


def spawn(target: Layout, proxy: FaultProxy) -> subprocess.Popen[bytes]:
    arguments = [str(target.path), f"127.0.0.1:{proxy.port}/site/x", LAYER_OF_IT.digest, str(SIZE)]
    return subprocess.Popen([sys.executable, "-P", "-c", PULL, *arguments], cwd=ROOT, stderr=subprocess.PIPE)
