"""Every page of a site's console, opened in this process; it imports nothing that only tests have."""

import io

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.delivery import SinkResponse
from eaves.platform import FunctionStatus
from tests.console_walk import open_every_page
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend, FakeImages, FakeRecords
from tests.fakes.console.browser import Browser
from tests.fakes.console.material import captured_event, classified_event, record_of, small_jpeg

NAME = "flowers"


def open_site_pages() -> list[str]:
    """Open every page of a site with an image and its prediction, and try a photo; return the endpoints, sorted."""
    captured = captured_event(1, data=small_jpeg())
    answer = classified_event(captured)
    image = {(captured.source, captured.id): captured.data}
    backend = FakeBackend(
        title="barn",
        records=FakeRecords([record_of(captured, 1), record_of(answer, 2)]),
        images=FakeImages(images=image, thumbnails=dict(image)),
        functions=[FunctionStatus(name=NAME, state="idle", site="barn")],
        log_lines={NAME: ["answered in 27 ms"]},
        answer=lambda name, event: SinkResponse(status=200, event=answer, latency_ms=27.0),
    )
    settings = ConsoleSettings(site_since=START - 300)
    app = create_app(ConsoleContext(backend=backend, settings=settings, clock=FrozenClock()))
    browser = Browser(app)

    def ask(path: str) -> tuple[int, str]:
        response = browser.open(path)
        return response.status_code, response.get_data().decode(errors="replace")

    opened = open_every_page(ask, app)
    tried = browser.submit("/try", {"function": NAME, "photo": (io.BytesIO(small_jpeg(2)), "mine.jpg")})
    assert (tried.status_code, "mine.jpg" in tried.text, "rose" in tried.text) == (200, True, True), tried.text
    return sorted(opened)
