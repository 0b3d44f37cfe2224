"""A registry that fails on demand."""

from collections.abc import Iterator

import pytest

from tests.fakes.http.registry import FakeRegistry, serve_fake


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with serve_fake() as registry:
        yield registry
