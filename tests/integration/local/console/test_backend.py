"""The local platform as the console sees it, with a real `eaves up` and a real function."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.console.pages.events import find_forwarding
from eaves.errors import NotFoundError, NotRunningError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import RecordFilter
from eaves.local.console import BROKER, LocalBackend
from eaves.local.state import LocalApp, StateDirectory
from eaves.spool import LedgerLimits, Spool
from tests.contract.harness import LocalHarness
from tests.integration.local.apps import digits_app
from tests.waiting import wait_until


@pytest.fixture
def backend(harness: LocalHarness, tmp_path: Path) -> Iterator[LocalBackend]:
    made = LocalBackend(StateDirectory(root=harness.state), tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(tiny_artifact: Path) -> LocalApp:
    return digits_app(tiny_artifact)


def image_of(artifact: Path) -> bytes:
    return next(artifact.glob("golden/*.png")).read_bytes()


def captured(number: int, data: bytes) -> Event:
    return Event(
        id=str(number),
        source="/eaves/test/gate",
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        data=data,
        subject=f"{number}.png",
    )


def test_an_image_is_found_with_its_prediction_its_picture_and_the_start_of_its_replica(
    harness: LocalHarness, backend: LocalBackend, app: LocalApp, tiny_artifact: Path
) -> None:
    harness.start()
    harness.platform.deploy(app)
    (status,) = backend.status()
    assert (status.name, status.state) == ("digits", "idle")
    event = captured(1, image_of(tiny_artifact))
    harness.platform.publish(event)

    def predicted() -> bool:
        return bool(backend.records.find(RecordFilter(types=(IMAGE_CLASSIFIED,))))

    wait_until(predicted, 60, what="the prediction")
    (prediction,) = backend.records.find(RecordFilter(types=(IMAGE_CLASSIFIED,)))
    assert [record.type for record in backend.records.chain(prediction)] == [IMAGE_CAPTURED, IMAGE_CLASSIFIED]
    assert find_forwarding(backend, prediction) is None
    cause = prediction.extensions["causesource"], prediction.extensions["causeid"]
    assert backend.images.image(*cause) == event.data
    assert backend.images.image(cause[0], "another") is None
    (captured_record, _) = backend.records.chain(prediction)
    thumbnail = backend.images.thumbnail(captured_record)
    assert thumbnail is not None
    assert thumbnail.startswith(b"\xff\xd8")
    with backend.open_queue(BROKER) as queue:
        assert [lane.queued for lane in queue.report().lanes] == [0]
    answer = backend.invoke("digits", captured(2, image_of(tiny_artifact)))
    assert answer.event is not None
    assert answer.event.type == IMAGE_CLASSIFIED
    wait_until(lambda: [one.state for one in backend.status()] == ["ready"], 5, what="a status that is read again")


def test_without_a_supervisor_the_functions_are_stopped_and_queues_are_read_from_their_files(
    harness: LocalHarness, backend: LocalBackend, app: LocalApp, tmp_path: Path
) -> None:
    harness.start()
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    harness.platform.publish(captured(1, b"x"))
    harness.kill()
    (status,) = backend.status()
    assert (status.state, status.queued) == ("stopped", 1)
    with backend.open_queue(BROKER) as queue:
        assert sum(lane.queued for lane in queue.report().lanes) == 1
    (record,) = backend.records.find(RecordFilter())
    assert find_forwarding(backend, record) is None
    with Spool(StateDirectory(root=harness.state).spool_of("digits", "relay"), ledger=LedgerLimits()) as relay:
        relay.put(captured(1, b"x"), lanes=("archive",))
    waiting = find_forwarding(backend, record)
    assert waiting is not None
    assert waiting.title == "Waiting in the relay's queue"
    assert backend.images.image("/eaves/test/gate", "1") is None
    with pytest.raises(NotRunningError):
        backend.invoke("digits", captured(1, b"x"))
    with pytest.raises(NotFoundError):
        backend.rollback("digits")  # it was deployed once
    backend.promote("digits")
    harness.start()  # so that the harness has something to end
