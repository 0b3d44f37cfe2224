"""Debian's docker-registry: with a login, with TLS, cut off, and what is never sent twice."""

import base64
import json
import random
from pathlib import Path

import pytest

from eaves.errors import AccessError, RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import PASSWORD, USER, LocalRegistry, check_image, serve_registry, small_index
from tests.inputs.certificates import make_certificate

NOBODY = Path("/nowhere/config.json")
PLAIN = Access(plain_http=True, configs=(NOBODY,), pause_s=0.01)
BIG = random.Random(1).randbytes(20_480_000)  # what doesn't shrink, more than two chunks


def reach(registry: LocalRegistry, repository: str, access: Access = PLAIN) -> Registry:
    return Registry(Reference(host=registry.host, repository=repository), access)


def test_what_is_pushed_is_pulled_and_nothing_is_sent_twice(registry: LocalRegistry, tmp_path: Path):
    layout, index = small_index(tmp_path, BIG)
    first = copy_image(layout, reach(registry, "real/a"), index, name="v1")
    assert len(first[0]) == 4
    there = reach(registry, "real/a")
    check_image(there, there.resolve("v1"))
    again = copy_image(layout, there, index, name="v2")
    assert (again[0], len(again[1])) == ([], 4)
    mounted = copy_image(layout, reach(registry, "real/b"), index, name="v1", mounts=["real/a"])
    assert (mounted[0], len(mounted[1])) == ([], 4)
    assert registry.tags("real/a") == {"v1", "v2"}


def test_with_a_login(tmp_path: Path):
    with serve_registry(tmp_path / "registry", login=True) as registry:
        config = tmp_path / "config.json"
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config.write_text(json.dumps({"auths": {registry.host: {"auth": secret}}}))
        layout, index = small_index(tmp_path)
        known = reach(registry, "real/a", Access(plain_http=True, configs=(config,)))
        copy_image(layout, known, index, name="v1", mounts=["real/other"])
        assert known.resolve("v1").digest == index.digest
        with pytest.raises(AccessError):
            reach(registry, "real/a").resolve("v1")


def test_with_a_private_authority(tmp_path: Path):
    certificate = make_certificate(tmp_path / "tls")
    with serve_registry(tmp_path / "registry", certificate=certificate) as registry:
        layout, index = small_index(tmp_path)
        trusting = Access(authorities=certificate[0], configs=(NOBODY,))
        copy_image(layout, reach(registry, "real/a", trusting), index, name="v1")
        assert reach(registry, "real/a", trusting).resolve("v1").digest == index.digest
        with pytest.raises(RegistryError, match="is not trusted") as caught:
            reach(registry, "real/a", Access(configs=(NOBODY,))).resolve("v1")
        assert "--registry-ca" in str(caught.value.hint)
        with pytest.raises(RegistryError, match="accepts only TLS") as caught:
            reach(registry, "real/a").resolve("v1")
        assert "--plain-http" in str(caught.value.hint)
