"""The console of a site whose cluster is an API server over HTTP: a person promotes and rolls back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from eaves.console.context import ConsoleContext
from eaves.delivery import SinkResponse
from knative.client.cluster import Cluster
from knative.console.site_backend import SiteBackend
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.browser.served import ServedConsole
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import SITE
from tests.cluster.pins import IMAGES
from tests.fakes.console.backend import FakeImages, FakeRecords
from tests.fakes.controllers.knative import Knative
from tests.integration.knative.test_documented_roles import deploy

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def site(cluster: Cluster, knative: Knative) -> SiteBackend:
    """A site with two revisions, of which the first gets every request."""
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    platform = KnativePlatform(cluster, KnativeSettings(agent_namespace=""), SITE, by="console", ready_timeout_s=10)
    return SiteBackend(
        platform,
        send=lambda name, event: SinkResponse(status=200),
        title="barn",
        records=FakeRecords(),
        images=FakeImages(),
    )


@pytest.fixture
def console(site: SiteBackend) -> Iterator[ServedConsole]:
    """The console of that site."""
    made = ServedConsole(ConsoleContext(backend=site))
    made.start()
    yield made
    made.stop()


def test_a_person_promotes_the_newest_revision_and_rolls_back(
    page: Page, console: ServedConsole, site: SiteBackend
) -> None:
    page.goto(f"{console.url}functions/{NAME}")
    page.get_by_role("link", name="Promote the newest revision").click()
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("status").first.wait_for()
    assert [one.image for one in site.status()[0].serving] == [IMAGES[1]]
    page.goto(f"{console.url}functions/{NAME}")
    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("status").first.wait_for()
    assert [one.image for one in site.status()[0].serving] == [IMAGE]
