"""The first screen: one sentence that says whether anything is wrong, the tiles, and the links to the cloud."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from eaves.admin.report import LinkReport
from eaves.console.backend import CachedAnswer, ConsoleContext
from eaves.console.pages.event_row import ANSWERED, EventRow, build_row, name_source
from eaves.console.pages.tiles import SourceTile, build_foreign_tile, build_tile
from eaves.console.words import count_noun, describe_duration, describe_size
from eaves.errors import EavesError
from eaves.events import IMAGE_CAPTURED, source_uri
from eaves.history import Record, RecordFilter
from eaves.platform import FunctionStatus

MAX_TILES = 60
"""Maximum number of tiles on the first screen; the sources that need attention come first when there are more."""
MAX_PROBLEMS = 5
"""Maximum number of problems that are listed below the headline."""
BY_HAND = ("console", "send")
"""Names of the sources of images that a person sent by hand; they have no tile."""
LONG_S = 15.0
"""Age below which a waiting event isn't worth mentioning, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that needs a person, or that a person should know.

    Attributes:
        name: What it concerns.
        text: What is wrong, in words.
        key: Tile that shows it; empty when no tile does.
        since: When a camera fell silent, Unix seconds, which is then the text; None for anything else.
        is_note: Whether it is only a note.
        page: Endpoint of the page that shows it; empty without one.
    """

    name: str
    text: str
    key: str = ""
    since: float | None = None
    is_note: bool = False
    page: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudLink:
    """The link of one app to the cloud.

    Attributes:
        title: Name of the link for people.
        state: `up`, `down`, `starting` or `unknown`.
        word: The state in words.
        since: Beginning of the state, Unix seconds; None when it isn't known.
        reason: Why nothing is forwarded; empty while events are forwarded.
        backlog: What waits, in words.
        oldest_at: When the oldest waiting event was put into the queue, Unix seconds; None when none waits for long.
        drain: Estimated time until nothing waits, in words; empty when it isn't known.
    """

    title: str
    state: str
    word: str
    since: float | None = None
    reason: str = ""
    backlog: str = ""
    oldest_at: float | None = None
    drain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of the whole platform.

    Attributes:
        state: State of the headline: `ok`, `failing`, `asleep` or `note`.
        headline: The sentence that answers whether anything is wrong.
        problems: What is wrong, at most `MAX_PROBLEMS`.
        more_problems: Number of further problems.
        tiles: Tiles that are shown.
        hidden: Number of sources beyond these.
        by_hand: Names of sources of images that people sent by hand.
        links: Links to the cloud.
    """

    state: str
    headline: str
    problems: tuple[Problem, ...] = ()
    more_problems: int = 0
    tiles: tuple[SourceTile, ...] = ()
    hidden: int = 0
    by_hand: tuple[str, ...] = ()
    links: tuple[CloudLink, ...] = ()


def build_overview(
    functions: Sequence[FunctionStatus],
    images: Mapping[str, EventRow],
    *,
    now: float,
    silent_after_s: float,
) -> Overview:
    """Return the state of the whole platform.

    Args:
        functions: Status of every function.
        images: Newest image of each source, by its CloudEvents source.
        now: Current time, Unix seconds.
        silent_after_s: Time without an image after which a source counts as silent, seconds; 0: never.
    """
    tiles = list_tiles(functions, images, now=now, silent_after_s=silent_after_s)
    links = list_links(functions, now)
    by_hand = sorted({name_source(source) for source in images}.intersection(BY_HAND))
    problems = [*_list_faults(functions, tiles), *_list_notes(functions, links)]
    state, headline = _write_headline(functions, tiles, problems, is_sent_by_hand=bool(by_hand))
    shown = tiles if len(tiles) <= MAX_TILES else sorted(tiles, key=lambda tile: not tile.needs_attention)[:MAX_TILES]
    return Overview(
        state=state,
        headline=headline,
        problems=tuple(problems[:MAX_PROBLEMS]),
        more_problems=max(0, len(problems) - MAX_PROBLEMS),
        tiles=tuple(shown),
        hidden=len(tiles) - len(shown),
        by_hand=tuple(by_hand),
        links=tuple(links),
    )


def list_tiles(
    functions: Sequence[FunctionStatus],
    images: Mapping[str, EventRow],
    *,
    now: float,
    silent_after_s: float,
) -> list[SourceTile]:
    """Return a tile for each source, in the order of their names, so that each one keeps its place.

    A source that was renamed with its site has one tile: that of the site's present name.
    """
    found: dict[str, SourceTile] = {}
    for function in functions:
        for agent in function.agents:
            for report in agent.sources:
                uri = source_uri(function.site, report.name)
                last = images.get(uri)
                tile = build_tile(report, agent, function, last, now=now, silent_after_s=silent_after_s)
                if uri not in found or tile.needs_attention:  # two apps may read the same source
                    found[uri] = tile
    known = {*BY_HAND, *(tile.name for tile in found.values())}
    foreign = [build_foreign_tile(uri, last, now=now) for uri, last in images.items() if name_source(uri) not in known]
    return sorted([*found.values(), *foreign], key=lambda tile: (_natural(tile.name), tile.key))


def list_links(functions: Sequence[FunctionStatus], now: float) -> list[CloudLink]:
    """Return the link of each app that has a relay; empty when no link to a cloud is set up."""
    return [
        _build_link(agent.link, now)
        if agent.link
        else CloudLink(
            title=function.name, state="unknown", word="The state of the link is not known", reason=agent.reason
        )
        for function in functions
        for agent in function.agents
        if agent.link is not None or agent.name.endswith(".relay")
    ]


def _build_link(link: LinkReport, now: float) -> CloudLink:
    state = "up" if link.up else "starting" if link.state in ("", "starting") else "down"
    word = {"up": "Connected to the cloud", "starting": "Connecting to the cloud"}.get(state, "Not connected")
    if link.state == "refused":
        word = "The cloud refuses this site"
    waiting = f"{count_noun(link.backlog_events, 'event')} waiting ({describe_size(link.backlog_bytes)})"
    oldest_age_s, drain = link.oldest_age_s or 0.0, ""
    if link.backlog_events and link.drain_s is not None and link.up:
        drain = f"sent in about {describe_duration(max(1.0, link.drain_s))}"
    return CloudLink(
        title=urlsplit(link.to).hostname or link.to,
        state=state,
        word=word,
        since=link.since if link.since_age_s is None else round(now - link.since_age_s),
        reason="" if link.up else link.reason,
        backlog=waiting if link.backlog_events else "nothing waits",
        oldest_at=round(now - oldest_age_s) if oldest_age_s >= LONG_S else None,
        drain=drain,
    )


def _list_faults(functions: Sequence[FunctionStatus], tiles: Sequence[SourceTile]) -> list[Problem]:
    """Return a problem for each tile that needs attention, and for each failed function that no tile stands for."""
    failing = [tile for tile in tiles if tile.needs_attention]
    problems = [
        Problem(
            name=tile.name,
            key=tile.key,
            since=tile.since if tile.state == "silent" else None,
            text=tile.detail if tile.state == "failing" else "",
        )
        for tile in failing
    ]
    for function in functions:
        if function.state == "failed" and function.name not in {tile.function for tile in failing}:
            text = f"The function fails: {function.reason}" if function.reason else "The function fails."
            problems.append(Problem(name=function.name, text=text, page="functions.show"))
    return problems


def _list_notes(functions: Sequence[FunctionStatus], links: Sequence[CloudLink]) -> list[Problem]:
    notes = [
        Problem(
            name="Link to the cloud",
            text=f"{link.word}. Images are predicted all the same; {link.backlog}.",
            is_note=True,
        )
        for link in links
        if link.state == "down"
    ]
    notes += [
        Problem(name=part.title, text=f"{part.reason}; its events wait.", is_note=True)
        for function in functions
        for part in function.parts
        if part.kind == "Trigger" and part.reason
    ]
    notes += [
        Problem(name=function.name, text=f"{shift.reason}.", is_note=True, page="functions.show")
        for function in functions
        for agent in function.agents
        for shift in agent.shifts
    ]
    dead = sum(function.dead + sum(agent.dead or 0 for agent in function.agents) for function in functions)
    if dead:
        text = f"{count_noun(dead, 'event')} could not be processed and {'is' if dead == 1 else 'are'} kept."
        notes.append(Problem(name="Dead letters", text=text, is_note=True, page="dead_letters.show"))
    return notes


def _write_headline(
    functions: Sequence[FunctionStatus],
    tiles: Sequence[SourceTile],
    problems: Sequence[Problem],
    *,
    is_sent_by_hand: bool,
) -> tuple[str, str]:
    """Return the state of the headline and its sentence."""
    faults = sum(not one.is_note for one in problems)
    if functions and all(function.state == "stopped" for function in functions):
        return "failing", "Eaves is not running, so no image is predicted."
    if faults:
        return "failing", _describe_faults(tiles, faults)
    if not tiles and is_sent_by_hand:
        return "note", "No source has sent an image; the newest ones were sent by hand."
    if not tiles:
        return "note", "No source has sent an image yet." if functions else "Nothing is deployed yet."
    sending = sum(tile.state == "ok" for tile in tiles)
    calm = "" if problems else " Nothing is wrong."
    if not sending:
        quiet = "The source is quiet" if len(tiles) == 1 else f"All {len(tiles)} sources are quiet"
        return "asleep", f"{quiet}.{calm}"
    if sending < len(tiles):
        return "ok", f"{sending} of {len(tiles)} sources {'is' if sending == 1 else 'are'} sending.{calm}"
    return "ok", "The source is sending." if sending == 1 else f"All {sending} sources are sending."


def _describe_faults(tiles: Sequence[SourceTile], faults: int) -> str:
    sources = sum(tile.needs_attention for tile in tiles)
    if len(tiles) == 1 and sources:
        return f"{tiles[0].name} needs attention."
    what = f"{sources} of {count_noun(len(tiles), 'source')}" if sources else count_noun(faults, "function")
    return f"{what} {'needs' if (sources or faults) == 1 else 'need'} attention."


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `camera-2` before `camera-10`."""
    return [(int(part[:18]), "") if part.isdecimal() else (0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


MAX_ROWS = 50
"""Maximum number of rows in the list of newest images."""
STATE_S, RENDERED_S = 1.0, 0.25
"""Time for which the platform's state and the rendered screen are used again, seconds."""
_TIMES = re.compile(r"<time .*?</time>", re.DOTALL)
"""Ages, which the page itself keeps current, so that they make no other screen."""


def build_blueprint(context: ConsoleContext) -> Blueprint:
    """Build the routes of the first screen."""
    pages = Blueprint("overview", __name__)
    state = CachedAnswer(_FirstScreen(context).read, STATE_S, context.clock)

    def read() -> dict[str, Any]:
        view, fault = None, None
        try:
            view = state.get()
        except EavesError as error:
            fault = error
        found = context.backend.records.find(RecordFilter(types=ANSWERED), limit=MAX_ROWS)
        shown = context.backend.images.find_shown(found)
        rows = [build_row(one, has_picture=one.seq in shown) for one in found]
        return {"view": view, "fault": fault, "rows": rows}

    def render() -> tuple[str, str]:
        """Return the screen and its ETag."""
        text = render_template("overview/live.html", **read())
        return text, hashlib.sha256(_TIMES.sub("", text).encode(errors="replace")).hexdigest()[:20]

    rendered = CachedAnswer(render, RENDERED_S, context.clock)

    @pages.get("/")
    def show() -> str:
        return render_template("overview/show.html", **read())

    @pages.get("/parts/overview")
    def live() -> Response:
        text, etag = rendered.get()
        response = Response(text)
        response.set_etag(etag)
        response.make_conditional(request)
        return response

    return pages


class _FirstScreen:
    """Reads the state of a platform for the first screen; one thread at a time."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def read(self) -> Overview:
        """Return the present state; an EavesError when the platform can't be reached."""
        backend, now = self._context.backend, self._context.clock.now()
        functions, sources = backend.status(), backend.records.by_source()
        newest = {one.source: one.newest for one in sources if one.newest}
        shown = backend.images.find_shown(newest.values())
        images = {source: _build_last(record, record.seq in shown) for source, record in newest.items()}
        return build_overview(functions, images, now=now, silent_after_s=self._context.settings.silent_after_s)


def _build_last(record: Record, has_picture: bool) -> EventRow:
    row = build_row(record, has_picture=has_picture)
    return replace(row, title="Not predicted yet") if record.type == IMAGE_CAPTURED else row
