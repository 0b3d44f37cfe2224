"""Images and thumbnails for pages: a kept thumbnail, or one that is made when a page asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set

from eaves.base.clock import SYSTEM, Clock
from eaves.console.thumbnails.store import KeptImage, ThumbnailStore, digest_of
from eaves.events import TENSOR_PREDICTED
from eaves.history import Record

RECENT_S = 60.0
"""Age below which an image that isn't kept yet is assumed to be still in the platform's memory, seconds."""

Fetch = Callable[[str, str], bytes | None]
"""Returns the encoded image of a recent event by `source` and `id`; None when it isn't held any more."""


class Gallery:
    """Implements `eaves.console.backend.Images` on kept thumbnails and a platform's recent images.

    Args:
        store: Kept thumbnails.
        fetch: Returns the encoded image of a recent event; it may raise EavesError.
        clock: Clock that decides which events are recent.
    """

    def __init__(self, store: ThumbnailStore, fetch: Fetch, *, clock: Clock = SYSTEM) -> None:
        self.store = store
        self._fetch = fetch
        self._clock = clock

    def image(self, source: str, event_id: str) -> bytes | None:
        """Return the encoded image of a recent event; None when it isn't kept any more."""
        return self._fetch(source, event_id)

    def thumbnail(self, captured: Record) -> bytes | None:
        """Return the thumbnail of a captured image; None when there is none.

        It is made and kept when the platform still holds the image.
        """
        return self.keep(captured)

    def kept_thumbnail(self, digest: str) -> bytes | None:
        """Return a kept thumbnail by the `digest_of` its image; None when it isn't kept."""
        return self.store.get(digest)

    def find_shown(self, records: Collection[Record]) -> Set[int]:
        """Return `Record.seq` of those records whose image has a thumbnail: a kept one, or one that can be made."""
        digests = {record.seq: digest_of(*record.image) for record in records if has_image(record)}
        known = self.store.find(set(digests.values()))
        recent = self._clock.now() - RECENT_S
        new = {record.seq for record in records if record.at > recent}
        return {seq for seq, digest in digests.items() if known.get(digest, seq in new)}

    def kept(self, *, before: int | None = None, limit: int = 50) -> Sequence[KeptImage]:
        """Return kept images with their predictions, newest first, older than the `KeptImage.number` `before`."""
        return self.store.kept(before=before, limit=limit)

    def keep(self, captured: Record, predictions: Iterable[Record] = ()) -> bytes | None:
        """Return the thumbnail of an image; make and keep it when the platform still holds the image.

        Args:
            captured: Record of the event that captured the image.
            predictions: Records of its predictions, which are kept with it.
        """
        from eaves.console.thumbnails.maker import make_thumbnail  # Pillow is loaded with the first image

        digest = digest_of(*captured.identity)
        if self.store.find([digest]):
            for prediction in predictions:
                self.store.attach(prediction)
            return self.store.get(digest)
        data = self._fetch(*captured.identity)
        if data is None:
            return None
        jpeg = make_thumbnail(data)
        self.store.put(captured, jpeg, list(predictions))
        return jpeg


def has_image(record: Record) -> bool:
    """Return whether an event has an image, or is about one; the history doesn't say so of every event."""
    if record.cause is not None:
        return record.type != TENSOR_PREDICTED
    return record.size_bytes > 0 and not record.text
