"""Streams of news for open pages: `GET /stream/NAME?after=SEQ` with the page's filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Flask, Response, abort, current_app, g, request

from eaves.console.context import ConsoleContext
from eaves.console.security import Mark, marked
from eaves.console.stream import Feed, StreamMessage, StreamSubscription
from eaves.console.views.overview_feed import OverviewFeed
from eaves.ingress.wsgi import TAKE_OVER

FEEDS: dict[str, Callable[[ConsoleContext, Mapping[str, str]], Feed]] = {
    "overview": lambda context, _: OverviewFeed(context)
}
"""Function that builds the feed of each stream, from the query without `after`. It checks the query, and ends with
`flask.abort` when that isn't valid."""
SESSION = "session_id"
"""Name in `flask.g` of the id of the login session, by which `StreamServer.close` ends a session's streams."""
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""Headers of a stream; the last one keeps nginx from holding messages back."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the route of all streams."""
    pages = Blueprint("stream", __name__)

    @pages.get("/stream/<name>")
    @marked(Mark.BACKGROUND)
    def open(name: str) -> Response:  # noqa: A001 - the endpoint is stream.open
        if name not in FEEDS:
            abort(404)
        streams, take_over = context.streams, request.environ.get(TAKE_OVER)
        if streams is None or take_over is None:
            abort(501, "This server has no streams.")
        query = {key: value for key, value in request.args.items() if key != "after"}
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's idiom
        wanted = StreamSubscription(
            key=(name, *sorted(query.items())),
            feed=_FeedOfApp(app, FEEDS[name](context, query)),
            after=_parse_position(request.headers.get("Last-Event-ID") or request.args.get("after", "")),
            session=str(g.get(SESSION, "")),
            left_s=g.get("session_left_s"),
            is_allowed=g.get("is_still_allowed", lambda: True),
        )
        take_over(lambda connection, head: streams.open(connection, head, wanted))
        return Response(headers=HEADERS)

    return pages


def _parse_position(text: str) -> int:
    """Return the position that a client names; 0 when it isn't one, so that the page is loaded again."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


class _FeedOfApp:
    """A feed whose methods run within a request context, so that they can render templates and build URLs."""

    def __init__(self, app: Flask, feed: Feed) -> None:
        self._app = app
        self._feed = feed

    def newest(self) -> int:
        return self._feed.newest()

    def catch_up(self, after: int, until: int) -> Sequence[StreamMessage] | None:
        with self._app.test_request_context():
            return self._feed.catch_up(after, until)

    def poll(self, after: int) -> Sequence[StreamMessage]:
        with self._app.test_request_context():
            return self._feed.poll(after)
