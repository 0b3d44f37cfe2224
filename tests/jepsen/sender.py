"""A sender that keeps each event until it is acknowledged, as an agent does."""

import json
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import IMAGE_CLASSIFIED, Event
from tests.jepsen.services import SITE

TIMEOUT_S = 10.0
PAUSE_S = 0.05


def make_prediction(source: int, number: int) -> Event:
    """A prediction of some hundred bytes, the same for the same numbers."""
    chance = random.Random(f"{source} {number}")
    scores = [{"label": label, "score": round(chance.random(), 6)} for label in ("daisy", "roses", "tulips")]
    data = json.dumps(
        {"predictions": scores, "model": "flowers", "digest": chance.randbytes(chance.randrange(150)).hex()}
    ).encode()
    return Event(
        id=f"{source:02}-{number:06}",
        source=f"/eaves/{SITE}/camera-{source}",
        type=IMAGE_CLASSIFIED,
        data=data,
        datacontenttype="application/json",
        subject=f"{number}.jpg",
        extensions={"sequence": f"{number:012}"},
    )


class Sender:
    """Sends the events of one source in order, each batch again until it is acknowledged.

    Args:
        url: The relay.
        source: Number of the source.
        count: How many events.
        pause_s: Seconds between two requests.
        seed: Seed of the sizes of batches.
    """

    def __init__(self, url: str, source: int, count: int, *, pause_s: float, seed: int) -> None:
        self.acknowledged = 0
        self.failures = 0
        self._url = url
        self._source = source
        self._count = count
        self._pause_s = pause_s
        self._chance = random.Random(f"{seed} {source}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{source}")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, whether all is acknowledged or not."""
        self._stop.set()
        self._thread.join()

    @property
    def done(self) -> bool:
        """Whether every event is acknowledged."""
        return self.acknowledged == self._count

    def events(self) -> Iterator[Event]:
        """All of its events."""
        return (make_prediction(self._source, number) for number in range(self._count))

    def _run(self) -> None:
        number = 0
        while number < self._count and not self._stop.is_set():
            size = min(self._count - number, self._chance.choice((1, 1, 1, 5, 20)))
            events = [make_prediction(self._source, number + at) for at in range(size)]
            while not self._stop.is_set() and not self._post(events):
                self.failures += 1
                self._stop.wait(PAUSE_S)
            number += size
            self.acknowledged = number
            self._stop.wait(self._pause_s)

    def _post(self, events: list[Event]) -> bool:
        request = urllib.request.Request(self._url, b"".join(encode_batch(events)), {"Content-Type": MEDIA_TYPE})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return bool(answer.status == 202)
        except urllib.error.HTTPError as error:
            if error.code not in {429, 503}:
                raise
            return False
        except OSError:
            return False
