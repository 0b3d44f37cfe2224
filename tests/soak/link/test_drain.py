"""100,000 events that waited while the link was down go over it; the relay's memory stays flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.link.proxy import Link
from tests.jepsen.draining import drain

MBIT_S = 20.0
MB = 1e6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_events_drain_with_a_memory_that_stays_flat(tmp_path: Path) -> None:
    drained = drain(tmp_path, 100_000, Link(delay_ms=25, mbit_s=MBIT_S))
    half = drained.rss_bytes[len(drained.rss_bytes) // 2 :]
    assert max(drained.rss_bytes) < 50 * MB, drained.line(MBIT_S)
    assert max(half) - min(half) < 4 * MB, drained.line(MBIT_S)
