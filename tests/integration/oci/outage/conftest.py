"""A registry, a link with faults before it, and a folder for what is pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.link.proxy import FaultProxy, Link
from eaves.oci.store.layout import Layout, create_layout
from tests.fakes.http.registry import FakeRegistry
from tests.integration.oci.outage.link_faults import CONTENT, LAYER_OF_IT


@pytest.fixture
def fake(fake: FakeRegistry) -> FakeRegistry:
    fake.content.blobs[LAYER_OF_IT.digest] = CONTENT
    fake.content.repositories["site/x"] = {LAYER_OF_IT.digest}
    return fake


@pytest.fixture
def target(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "target")


@pytest.fixture
def proxy(fake: FakeRegistry) -> Iterator[FaultProxy]:
    """A link of half a megabyte a second to the registry."""
    with FaultProxy("127.0.0.1", int(fake.host.rpartition(":")[2]), Link(mbit_s=4)) as link:
        yield link
