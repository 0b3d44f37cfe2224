"""The broker of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.mosquitto import KEEPING_ALL, Mosquitto, run_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """It keeps what it acknowledged when it is killed, however much it is, and logs every packet."""
    with run_mosquitto(tmp_path / "broker", (*KEEPING_ALL, "max_queued_messages 0", "log_type all")) as running:
        yield running
