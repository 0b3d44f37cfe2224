"""The news of the first screen: new images, and tiles, links and the headline when they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flask import render_template

from eaves.console.context import ConsoleContext
from eaves.console.first_screen import FirstScreen
from eaves.console.model.event_row import build_row
from eaves.console.model.overview import Overview, settle
from eaves.console.model.prediction import ANSWERED
from eaves.console.stream.feed import MAX_CATCH_UP, StreamMessage
from eaves.errors import EavesError
from eaves.history import Record

MAX_ROWS = 50
"""Maximum number of rows in the list of newest images; `console.js` has the same limit."""
MAX_NEW = 20
"""Maximum number of new images that are shown at once; the others of a burst are counted."""
BATCH = 500
"""Maximum number of records that are read at once."""
STATE_S = 1.0
"""Time between two readings of the platform's state, seconds."""


class OverviewFeed:
    """Implements `eaves.console.stream.Feed` for the first screen.

    Args:
        context: The platform and its settings.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._screen = FirstScreen(context)
        self._shown: Overview | None = None
        self._read_at = -STATE_S

    def newest(self) -> int:
        """Return `Record.seq` of the newest record; 0 when there is none."""
        return self._context.backend.records.newest()

    def catch_up(self, after: int, until: int) -> Sequence[StreamMessage] | None:
        """Return the images after the record `after` up to `until`, and the whole state."""
        missing = self._context.backend.records.next(after=after, limit=MAX_CATCH_UP + 1)
        missing = [one for one in missing if one.seq <= until]
        if len(missing) > MAX_CATCH_UP:
            return None
        state = self._read_state()
        if self._shown is None:
            self._shown = state  # else the clients that are open already have not seen it, and `poll` sends the changes
        return [StreamMessage(data=_render(missing) + _render_state(None, state), id=until)]

    def poll(self, after: int) -> Sequence[StreamMessage]:
        """Return the images after the record `after`, and what has changed in the state."""
        messages = []
        if records := self._context.backend.records.next(after=after, limit=BATCH):
            messages.append(StreamMessage(data=_render(records), id=records[-1].seq))
        now = self._context.clock.monotonic()
        if now - self._read_at >= STATE_S:
            self._read_at = now
            before, self._shown = self._shown, self._read_state()
            if before is not None and (data := _render_state(before, self._shown)):
                messages.append(StreamMessage(data=data))
        return messages

    def _read_state(self) -> Overview:
        """Return the present state; when the platform can't be reached, the last one under a headline that says so."""
        try:
            found = self._screen.read()
        except EavesError as error:
            last = self._shown or Overview(state="failing", headline="")
            return replace(
                last, state="failing", headline=f"The platform can't be asked: {error.message}.", problems=()
            )
        return found if self._shown is None else settle(self._shown, found)


def _render(records: Sequence[Record]) -> str:
    rows = [build_row(one) for one in reversed(records) if one.type in ANSWERED]
    if not rows:
        return ""
    more = len(rows) - MAX_NEW
    return render_template("overview/new_rows.html", rows=rows[:MAX_NEW], more=max(0, more))


def _render_state(before: Overview | None, after: Overview) -> str:
    """Return the parts of the page that have changed; all of them without a state before."""
    places = None if before is None else [tile.key for tile in before.tiles]
    is_same_grid = places == [tile.key for tile in after.tiles] and before is not None
    known = {} if before is None else {tile.key: tile for tile in before.tiles}
    return render_template(
        "overview/changes.html",
        view=after,
        headline=before is None or _headline(before) != _headline(after),
        links=before is None or before.links != after.links,
        tiles=[tile for tile in after.tiles if known.get(tile.key) != tile] if is_same_grid else [],
        grid=not is_same_grid or (before is not None and before.hidden != after.hidden),
    ).strip()


def _headline(view: Overview) -> tuple[object, ...]:
    return view.state, view.headline, view.problems, view.more_problems
