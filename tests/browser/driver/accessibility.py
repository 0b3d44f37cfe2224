"""axe-core on a page: the faults that a person with a screen reader, a keyboard or weak eyes meets."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

SERIOUS = frozenset({"serious", "critical"})


def find_violations(page: Page) -> list[str]:
    """Return one line for each element with a serious or critical fault.

    axe-core is evaluated by the debugger, which a page's Content-Security-Policy doesn't restrict.

    Source: axe-core's rules for WCAG 2.2, levels A and AA, and its best practices.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    results: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['impact']} {violation['id']}: {violation['help']}: {' '.join(map(str, node['target']))}"
        f" {node['html'][:160]} {' '.join(one['message'] for one in node['any'][:1])}"
        for violation in results["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
