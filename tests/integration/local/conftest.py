"""`eaves up` as a process."""

from collections.abc import Iterator

import pytest

from tests.contract.harness import LocalHarness, open_local_harness


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    """A state directory on which `eaves up` doesn't run yet."""
    with open_local_harness(start=False) as made:
        yield made
