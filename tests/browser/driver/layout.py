"""How a page lies in its window, how heavy it is, and when it is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def too_wide(page: Page) -> list[str]:
    """Return the elements that make the page scroll sideways; empty when it doesn't."""
    found: list[str] = page.evaluate("probe.tooWide()")
    return found


def first_contentful_paint_ms(page: Page) -> float:
    """Return the time from the start of the page's loading to its first text or picture, milliseconds."""
    return float(page.evaluate("probe.contentfulPaint()"))


def transferred_bytes(page: Page, *, images: bool = False) -> int:
    """Return the encoded bytes of the page and of what it loaded, with their heads.

    Source: Resource Timing, `transferSize`.
    """
    return int(page.evaluate("(images) => probe.transferredBytes(images)", images))


def long_tasks_ms(page: Page) -> list[int]:
    """Return the durations of the tasks over 50 ms since the page was opened, milliseconds.

    Source: Long Tasks API.
    """
    found: list[int] = page.evaluate("probe.longTasks")
    return found


def notice(page: Page, text: str, *, within: str = "#newest") -> None:
    """Let the page note when this text is painted within an element; `painted_at` returns when that was."""
    page.evaluate("([text, within]) => probe.notice(text, within)", [text, within])


def painted_at(page: Page, text: str) -> float:
    """Wait until a text that `notice` named is painted, and return when that was, Unix seconds."""
    return float(page.wait_for_function("(text) => probe.painted[text]", arg=text).json_value()) / 1_000
