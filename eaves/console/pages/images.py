"""Images of events: their page, thumbnails, and the images themselves while the platform still holds them.

An image comes from anybody. It is sent with a fixed media type that can't execute, and in a sandbox (see
`eaves.console.guard`).
"""

from __future__ import annotations

import hashlib
from functools import partial

from flask import Blueprint, Response, abort, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from eaves.console.backend import ConsoleContext
from eaves.console.pages.events import show_list
from eaves.console.thumbnails import DIGEST_CHARACTERS, digest_of
from eaves.history import Record
from eaves.media_type import sniff

SHOWN = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"})
"""Media types, found in the first bytes, of the images that are sent as they are. None of them can contain a script."""
KEEP = "private, max-age=31536000, immutable"
"""Caching of an image: its address contains a digest of the event's identity, so that it never shows another image."""
_KEY = f"/images/<int:seq>-<string(length={DIGEST_CHARACTERS}):digest>"


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of images and of their page, and the functions that templates call for their addresses."""
    images, records = context.backend.images, context.backend.records
    routes = Blueprint("images", __name__)
    routes.add_url_rule("/images", "show", lambda: show_list(context, as_pictures=True))

    @routes.get(f"{_KEY}/thumbnail.jpg")
    def thumbnail(seq: int, digest: str) -> BaseResponse:
        found = images.kept_thumbnail(digest)
        if found is None and (record := get_record(seq, digest)) is not None:
            captured = record if record.cause is None else records.causes([record]).get(seq)
            found = None if captured is None else images.thumbnail(captured)
        if found is None:
            return _refuse(404, "There is no picture of this event.")
        return _send(found, "image/jpeg")

    @routes.get(f"{_KEY}/full")
    def full(seq: int, digest: str) -> BaseResponse:
        record = get_record(seq, digest)
        found = None if record is None else images.image(*record.image)
        if found is None:
            return _refuse(404, "The platform doesn't hold this image any more. It holds only the newest images.")
        kind = sniff(found)
        if kind not in SHOWN:
            return _refuse(415, "A browser can't show images of this kind.")
        return _send(found, kind)

    def get_record(seq: int, digest: str) -> Record | None:
        record = records.get(seq)
        return record if record is not None and digest_of(*record.image) == digest else None

    routes.add_app_template_global(build_image_url, "image_url")
    routes.add_app_template_global(build_thumbnail_url, "thumbnail_url")
    return routes


def build_image_url(picture: str, endpoint: str = "images.full") -> str:
    """Return the address of an image by its `build_picture_key`; templates call it as `image_url`."""
    seq, _, digest = picture.partition("-")
    return url_for(endpoint, seq=int(seq), digest=digest)


build_thumbnail_url = partial(build_image_url, endpoint="images.thumbnail")
"""Returns the address of a thumbnail by the `build_picture_key` of its image; templates call it `thumbnail_url`."""


def send_picture(jpeg: bytes | None, *, max_age_s: int) -> Response:
    """Send a JPEG that the console has made, which can hold nothing that a browser runs; 404 without one.

    Args:
        jpeg: The encoded picture.
        max_age_s: Time for which a browser keeps it, seconds.
    """
    if jpeg is None:
        abort(404)
    return Response(jpeg, content_type="image/jpeg", headers={"Cache-Control": f"private, max-age={max_age_s}"})


def _send(data: bytes, kind: str) -> BaseResponse:
    response = Response(data, content_type=kind, headers={"Cache-Control": KEEP, "Content-Disposition": "inline"})
    response.set_etag(hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS])
    return response.make_conditional(request)


def _refuse(status: int, text: str) -> Response:
    return Response(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
