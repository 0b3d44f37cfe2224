"""Copies that are cut anywhere: the tag stands for what it stood for before, and what arrived isn't sent again."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eaves.errors import RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import check_image, small_index
from tests.fakes.http.registry import FakeRegistry, Reply
from tests.waiting import wait_until

ONCE = Access(plain_http=True, configs=(Path("/nowhere/config.json"),), attempts=1)
ROOT = Path(__file__).parents[3]


def reach(fake: FakeRegistry) -> Registry:
    return Registry(Reference(host=fake.host, repository="site/x"), ONCE)


def cut_after(fake: FakeRegistry, number: int, *, done: bool) -> None:
    """The connection breaks at each request after this one; `done`: only its answer is lost, the first time."""
    first = len(fake.log) + number + 1
    fake.fault = lambda request: None if request.number < first else Reply(done=done and request.number == first)


@pytest.mark.parametrize("done", [False, True])
def test_cut_at_any_request_the_tag_is_the_old_one_or_the_new_one_whole(fake: FakeRegistry, tmp_path: Path, done: bool):
    old_layout, old = small_index(tmp_path / "old", b"old")
    new_layout, new = small_index(tmp_path / "new", b"new")
    copy_image(old_layout, reach(fake), old, name="v1")
    for number in range(100):
        cut_after(fake, number, done=done)
        try:
            copy_image(new_layout, reach(fake), new, name="v1")
        except RegistryError:
            cut = True
        else:
            cut = False
        fake.fault = lambda request: None
        registry = reach(fake)
        found = registry.resolve("v1")
        assert found.digest in {old.digest, new.digest}
        check_image(registry, found)
        if not cut:
            break
        fake.content.manifests["site/x", "v1"] = fake.content.manifests["site/x", old.digest]
    assert found.digest == new.digest
    assert number > 6, "every request of a push was cut once"


def test_a_push_that_is_stopped_ends_soon(fake: FakeRegistry, tmp_path: Path):
    stalled = threading.Event()
    fake.fault = lambda request: (stalled.wait(60), None)[1] if request.method == "PATCH" else None
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.container_images.registries import small_index\nfrom eaves.oci.copy import copy_image\n"
        "from eaves.oci.descriptor import parse_reference\nfrom eaves.oci.registry.registry import Registry\n"
        "from eaves.oci.registry.transport import Access\n"
        "layout, descriptor = small_index(Path(sys.argv[1]), b'x' * 300_000, architectures=('amd64',))\n"
        "access = Access(plain_http=True, configs=(Path('/nowhere'),))\n"
        "copy_image(layout, Registry(parse_reference(sys.argv[2]), access), descriptor, name='v1')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "child"), f"{fake.host}/site/x"], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        wait_until(lambda: fake.asked("PATCH uploads"), 30, what="the upload")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)  # far from the two minutes after which a connection counts as dead
    finally:
        stalled.set()
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGINT
    assert not fake.content.manifests
