"""What the pages of a site's console say of what it doesn't have, instead of what is true on one machine."""

import pytest
from flask.testing import FlaskClient

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.platform import FunctionStatus
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend

FUNCTION = FunctionStatus(name="flowers", state="idle")


def open_pages(site_since: float | None) -> FlaskClient:
    settings = ConsoleSettings(site_since=site_since)
    clock = FrozenClock()
    return create_app(
        ConsoleContext(backend=FakeBackend(functions=[FUNCTION]), settings=settings, clock=clock)
    ).test_client()


@pytest.mark.parametrize(
    ("path", "at_a_site", "on_one_machine"),
    [
        ("/", "It was started <time", "No image was predicted yet."),
        ("/events?label=rose", "keeps events since it was started, <time", "keeps the newest 10,000 events"),
        ("/dead-letters/", "eaves queue list --dead --on knative", "Every accepted event was delivered"),
        ("/try", "Neither the photo nor the answer is listed among", "The answer is listed among the events"),
    ],
)
def test_a_page_says_what_is_so_at_a_site(path: str, at_a_site: str, on_one_machine: str):
    site, machine = open_pages(START - 300).get(path), open_pages(None).get(path)
    assert (site.status_code, machine.status_code) == (200, 200)
    assert at_a_site in site.text
    assert at_a_site not in machine.text
    assert on_one_machine in machine.text
    assert on_one_machine not in site.text
