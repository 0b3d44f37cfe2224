"""The sink of a folder of labelled images, `dataset:///ABSOLUTE/FOLDER`: it keeps images as photos without a label."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eaves.delivery.response_rules import SinkResponse
from eaves.delivery.sinks import MqttTriggerSettings, Sink, SinkTarget
from eaves.errors import DatasetError, StorageError
from eaves.events import AUDIT, CHOSEN, Event
from eaves.labels import LabelBook


class DatasetSink(Sink):
    """Puts the images among its events into a folder; of the same bytes there is one file."""

    def __init__(self, target: SinkTarget) -> None:
        self._book = LabelBook(Path(unquote(urlsplit(target.url).path)))

    @classmethod
    def find_faults(cls, url: str, settings: MqttTriggerSettings) -> Iterable[tuple[str, str]]:  # noqa: ARG003
        """Yield a fault when the url has no absolute path."""
        parts = urlsplit(url)
        if parts.netloc or not parts.path.startswith("/"):
            yield "url", f"must be dataset:///FOLDER with an absolute path (got {url!r})"

    def send(self, event: Event, *, timeout_s: float) -> SinkResponse:
        """Write an event's image; other events are ignored.

        Raises:
            ImageError: The data aren't an image.
            StorageError: The folder can't be read or written; the event waits.
        """
        if event.is_image:
            keep_image(self._book, event)
        return SinkResponse(status=200)

    def is_alive(self) -> bool:
        """Return True: a folder that can't be written at present is tried again."""
        return True

    def close(self, grace_s: float = 1.0) -> None:
        """Do nothing, as each image is on disk when `send` returns."""


def keep_image(book: LabelBook, event: Event) -> None:
    """Write an event's image into a dataset's folder: into its folder `audit` when it is of the audit sample.

    Raises:
        ImageError: The data aren't an image.
        StorageError: The folder can't be read or written.
    """
    why = event.extensions.get(CHOSEN, "")
    name = "-".join(part for part in (why, *event.source.split("/")[2:]) if part)
    try:
        book.add_photo(name, event.data, audit=why == AUDIT)
    except DatasetError as error:  # such as a labels.csv that can't be read
        raise StorageError(error.message, hint=error.hint) from error
