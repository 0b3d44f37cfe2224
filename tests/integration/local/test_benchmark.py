"""The benchmark of the local platform in its shortest form: everything that it counts adds up, whatever it took."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from bench.local import backlog, latency, throughput

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The platform's folder is made in the working folder, and its socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="eaves-") as folder:
        monkeypatch.chdir(folder)
        yield


def test_every_way_to_the_function_is_measured() -> None:
    found = latency.measure(3, 100_000)
    assert 0 < found.direct_arrival < found.direct_answer
    assert 0 < found.disk < found.durable_answer
    assert found.passed_answer > 0
    assert found.delivered > 0


def test_every_event_that_is_accepted_is_delivered_and_released() -> None:
    found = throughput.measure(40, 20_000, connections=4)
    assert 0 < found.per_second <= found.accepted_per_second
    assert found.cpu_ms > 0


def test_a_queue_for_a_dead_address_holds_up_nobody_and_a_full_one_drains() -> None:
    sizes = [one.waiting for one in backlog.measure_beside((20, 400), 3, 1_000)]
    assert sizes == [20, 400]
    drain = backlog.measure_drain(400, 1_000, part=100)
    assert drain.first_per_second > 0
    assert drain.last_per_second > 0
