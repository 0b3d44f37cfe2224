"""What `eaves up` and `eaves remove` say: predictions as they come, and the events that wait when they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from eaves.events import IMAGE_CAPTURED, Event
from tests.contract.harness import LocalHarness
from tests.integration.local.apps import digits_app
from tests.waiting import wait_until


def captured(number: int, data: bytes) -> Event:
    return Event(
        id=str(number), source="/eaves/test/x", type=IMAGE_CAPTURED, subject=f"{number}.png",
        datacontenttype="image/png", data=data,
    )  # fmt: skip


def test_a_prediction_is_printed_as_it_comes(harness: LocalHarness, tiny_artifact: Path) -> None:
    harness.start()
    harness.deploy(digits_app(tiny_artifact))
    harness.platform.publish(captured(7, (tiny_artifact / "golden/000.png").read_bytes()))
    wait_until(lambda: "7.png" in harness.log(), 60, what="the prediction's line")
    (line,) = [line for line in harness.log().splitlines() if line.endswith("7.png")]
    assert line.split()[1] == "digits"
    assert 0 <= float(line.split()[-2]) <= 1
    wait_until(lambda: harness.platform.status()[0].delivered, 30, what="the image, delivered")
    assert harness.platform.status()[0].delivered == 1, "its prediction is no second delivery to the function"


def test_events_that_wait_are_reported_at_the_end_and_at_a_removal(harness: LocalHarness, tmp_path: Path) -> None:
    harness.start()
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    for number in range(3):
        harness.platform.publish(captured(number, b"x"))
    harness.stop()
    assert "3 events wait in the queue; `eaves up` delivers them when it runs again" in harness.log()
    harness.start()
    command = [sys.executable, "-P", "-m", "eaves.cli", "remove", "digits", "--state", str(harness.state)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "3 queued events of digits are kept as dead letters" in done.stderr
    assert harness.platform.status() == []
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    wait_until(lambda: harness.platform.status()[0].queued == 3, 30, what="the events, queued again")
