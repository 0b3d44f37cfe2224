"""A person without a mouse: which elements Tab reaches, in which order, and whether the focus is visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """An element that has the focus.

    Attributes:
        name: Tag and text.
        outlined: Whether the focus is drawn, at least 2 px wide or as the browser does.
        seen: Whether a part of the element is in the window.

    Source: WCAG 2.2, 2.4.7 (focus visible), 2.4.11 (focus not obscured).
    """

    name: str
    outlined: bool
    seen: bool


def tab_through(page: Page, limit: int = 400) -> list[Stop]:
    """Press Tab from the start of the page to its end; return the elements in the order in which they got the focus."""
    page.evaluate("probe.forgetFocus()")
    stops: list[Stop] = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        found = page.evaluate("probe.focused()")
        if found is None or found["number"] < len(stops) - 1:
            break
        if found["number"] == len(stops) - 1:  # a field of several parts, such as a date
            continue
        stops.append(Stop(name=found["name"], outlined=found["outlined"], seen=found["seen"]))
    return stops


def tab_to(page: Page, name: str, limit: int = 400) -> None:
    """Press Tab until the element with this text has the focus.

    Args:
        page: The page.
        name: Text within the element's tag and text, as in `button Retry`.
        limit: Maximum number of key presses.
    """
    for _ in range(limit):
        page.keyboard.press("Tab")
        found = page.evaluate("probe.focused()")
        if found is not None and name in found["name"]:
            return
    raise AssertionError(f"Tab reaches no {name!r}; the page has {reachable(page)}")


def reachable(page: Page) -> list[str]:
    """Return the name of each visible element that Tab should reach, in the order of the document."""
    names: list[str] = page.evaluate("probe.reachable().map(probe.nameOf)")
    return names
