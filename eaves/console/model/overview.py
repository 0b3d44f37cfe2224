"""The first screen: one sentence that says whether anything is wrong, the tiles, and the links to the cloud."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eaves.console.model.link import CloudLink, list_links
from eaves.console.model.source_tile import LastImage, SourceTile, build_foreign_tile, build_tile
from eaves.console.model.words import count_noun
from eaves.platform import FunctionStatus

MAX_TILES = 60
"""Maximum number of tiles on the first screen; the sources that need attention come first when there are more."""
MAX_PROBLEMS = 5
"""Maximum number of problems that are listed below the headline."""
SETTLE_S = 15.0
"""Difference below which two times of the beginning of the same state are taken for the same, seconds: a platform
computes them from an age each time."""
_OWN_SOURCES = ("console", "send")
"""Names of sources of images that a person sent by hand, for which there is a tile only while their image is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that needs a person, or that a person should know.

    Attributes:
        name: What it concerns.
        text: What is wrong, in words.
        key: Tile that shows it; empty when no tile does.
        since: When it began, Unix seconds; None when it isn't known.
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
class Overview:
    """The state of the whole platform.

    Attributes:
        state: State of the headline: `ok`, `failing`, `asleep` or `note`.
        headline: The sentence that answers whether anything is wrong.
        problems: What is wrong, at most `MAX_PROBLEMS`.
        more_problems: Number of further problems.
        tiles: Tiles that are shown.
        hidden: Number of sources beyond these.
        links: Links to the cloud.
    """

    state: str
    headline: str
    problems: tuple[Problem, ...] = ()
    more_problems: int = 0
    tiles: tuple[SourceTile, ...] = ()
    hidden: int = 0
    links: tuple[CloudLink, ...] = ()


def build_overview(
    functions: Sequence[FunctionStatus],
    images: Mapping[str, LastImage],
    *,
    now: float,
    silent_after_s: float,
) -> Overview:
    """Return the state of the whole platform.

    Args:
        functions: Status of every function.
        images: Newest image of each source, by its CloudEvents source.
        now: Current time, Unix seconds.
        silent_after_s: Time without an image after which a source with a rhythm counts as silent, seconds; 0: never.
    """
    tiles = list_tiles(functions, images, now=now, silent_after_s=silent_after_s)
    links = list_links(functions, now)
    problems = [*_list_tile_problems(tiles), *_list_function_problems(functions, tiles), *_list_notes(functions, links)]
    state, headline = _write_headline(functions, tiles, problems)
    shown = tiles if len(tiles) <= MAX_TILES else sorted(tiles, key=lambda tile: not tile.needs_attention)[:MAX_TILES]
    return Overview(
        state=state,
        headline=headline,
        problems=tuple(problems[:MAX_PROBLEMS]),
        more_problems=max(0, len(problems) - MAX_PROBLEMS),
        tiles=tuple(shown),
        hidden=len(tiles) - len(shown),
        links=tuple(links),
    )


def list_tiles(
    functions: Sequence[FunctionStatus], images: Mapping[str, LastImage], *, now: float, silent_after_s: float
) -> list[SourceTile]:
    """Return a tile for each source, in the order of their names, so that each one keeps its place."""
    found: dict[str, SourceTile] = {}
    for function in functions:
        for agent in function.agents:
            for report in agent.sources:
                uri = f"/eaves/{function.site}/{report.name}"
                tile = build_tile(
                    report, agent, function, images.get(uri), now=now, silent_after_s=silent_after_s
                )  # two apps may read the same source
                if tile.key not in found or tile.needs_attention:
                    found[tile.key] = tile
    for source, last in images.items():
        if source not in found:
            tile = build_foreign_tile(source, last, now=now)
            if tile.name not in _OWN_SOURCES or tile.state == "ok":
                found[source] = tile
    return sorted(found.values(), key=lambda tile: (_natural(tile.name), tile.key))


def settle(before: Overview, after: Overview) -> Overview:
    """Return `after` with the beginnings of unchanged states as they were in `before`."""
    tiles = {tile.key: tile for tile in before.tiles}
    links = {link.key: link for link in before.links}
    problems = {(one.key, one.text): one for one in before.problems}
    return replace(
        after,
        tiles=tuple(_settle_tile(tiles.get(tile.key), tile) for tile in after.tiles),
        links=tuple(_settle_link(links.get(link.key), link) for link in after.links),
        problems=tuple(_settle_problem(problems.get((one.key, one.text)), one) for one in after.problems),
    )


def _settle_tile(before: SourceTile | None, after: SourceTile) -> SourceTile:
    if before is None or before.state != after.state:
        return after
    return replace(after, since=_settle_time(before.since, after.since))


def _settle_link(before: CloudLink | None, after: CloudLink) -> CloudLink:
    if before is None or before.state != after.state:
        return after
    oldest_at = _settle_time(before.oldest_at, after.oldest_at)
    return replace(after, since=_settle_time(before.since, after.since), oldest_at=oldest_at)


def _settle_problem(before: Problem | None, after: Problem) -> Problem:
    return after if before is None else replace(after, since=_settle_time(before.since, after.since))


def _settle_time(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or abs(before - after) > SETTLE_S:
        return after
    return before


def _list_tile_problems(tiles: Iterable[SourceTile]) -> list[Problem]:
    return [
        Problem(
            name=tile.name,
            key=tile.key,
            since=tile.since if tile.state == "silent" else None,
            text=tile.detail if tile.state == "failing" else "",
        )
        for tile in tiles
        if tile.needs_attention
    ]


def _list_function_problems(functions: Sequence[FunctionStatus], tiles: Sequence[SourceTile]) -> list[Problem]:
    """Return a problem for each failed function that no tile stands for."""
    shown = {tile.function for tile in tiles if tile.needs_attention}
    return [
        Problem(
            name=function.name,
            text=f"The function fails: {function.reason}" if function.reason else "The function fails.",
            page="functions.show",
        )
        for function in functions
        if function.state == "failed" and function.name not in shown
    ]


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
    dead = sum(function.dead + sum(agent.dead or 0 for agent in function.agents) for function in functions)
    if dead:
        text = f"{count_noun(dead, 'event')} could not be processed and {'is' if dead == 1 else 'are'} kept."
        notes.append(Problem(name="Dead letters", text=text, is_note=True, page="dead_letters.show"))
    return notes


def _write_headline(
    functions: Sequence[FunctionStatus], tiles: Sequence[SourceTile], problems: Sequence[Problem]
) -> tuple[str, str]:
    """Return the state of the headline and its sentence."""
    faults = sum(not one.is_note for one in problems)
    if functions and all(function.state == "stopped" for function in functions):
        return "failing", "Eaves is not running, so no image is predicted."
    if faults:
        return "failing", _describe_faults(tiles, faults)
    if not tiles:
        return "note", "No source has sent an image yet." if functions else "Nothing is deployed yet."
    sending = sum(tile.state == "ok" for tile in tiles)
    if not sending:
        quiet = "The source is quiet" if len(tiles) == 1 else f"All {len(tiles)} sources are quiet"
        return "asleep", f"{quiet}. Nothing is wrong."
    if sending < len(tiles):
        return "ok", f"{sending} of {len(tiles)} sources {'is' if sending == 1 else 'are'} sending. Nothing is wrong."
    return "ok", "The source is sending." if sending == 1 else f"All {sending} sources are sending."


def _describe_faults(tiles: Sequence[SourceTile], faults: int) -> str:
    sources = sum(tile.needs_attention for tile in tiles)
    if len(tiles) == 1 and sources:
        return f"{tiles[0].name} needs attention."
    if sources:
        return f"{sources} of {count_noun(len(tiles), 'source')} {_verb(sources, 'need')} attention."
    return f"{count_noun(faults, 'function')} {_verb(faults, 'need')} attention."


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts `camera-2` before `camera-10`."""
    return [(int(part[:18]), "") if part.isdecimal() else (0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]
