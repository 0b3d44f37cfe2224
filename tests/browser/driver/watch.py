"""What no page may do: report an error, violate its Content-Security-Policy, or contact another host."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

PROBE = Path(__file__).with_name("probe.js")


@dataclass
class PageWatch:
    """Watches every page of a browser context.

    Attributes:
        host: Host and port that pages may contact.
        faults: What no page may do and one did.
        responses: All responses, oldest first.
        expected: Patterns of faults that the test causes on purpose.
    """

    host: str
    faults: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Watch the pages that the context opens from now on."""
        context.expose_binding("reportViolation", lambda _, text: self.faults.append(f"policy violated: {text}"))
        context.add_init_script(path=PROBE)
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        context.on("console", self._on_console)
        context.on("page", self._on_page)

    def expect(self, pattern: str) -> None:
        """Accept faults that the pattern is found in, because the test causes them."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        """Return the faults that the test doesn't cause."""
        return [one for one in self.faults if not any(re.search(pattern, one) for pattern in self.expected)]

    def _on_page(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.faults.append(f"script failed: {error}"))

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.netloc != self.host:
            self.faults.append(f"another host was contacted: {request.url}")

    def _on_response(self, response: Response) -> None:
        self.responses.append(response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type} in the console: {message.text} ({message.location.get('url', '')})")
