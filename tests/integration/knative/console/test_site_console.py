"""A site's console over real sockets: events of a Trigger in, pages with a login out, a cluster behind it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.console.app import ConsoleServer
from eaves.console.exposure import prepare_credentials
from eaves.delivery import SinkClient
from eaves.errors import ConfigError
from eaves.events import Event, encode_binary
from knative.client.cluster import Cluster
from knative.console import open_console
from knative.resources.standalone_servers import SiteConsoleSettings
from tests.cluster.apps import NAME
from tests.fakes.console.material import captured_event, classified_event, small_jpeg
from tests.fakes.controllers.knative import Knative
from tests.https_browser import HttpsBrowser
from tests.integration.knative.test_documented_roles import deploy
from tests.ports import find_port
from tests.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path) -> SiteConsoleSettings:
    folder = tmp_path / "credentials"
    prepare_credentials(folder, host="127.0.0.1")
    data = tmp_path / "data"
    data.mkdir()
    return SiteConsoleSettings(
        host="127.0.0.1", port=find_port(), events_port=find_port(), site="barn", credentials=folder, data=data
    )


@pytest.fixture
def server(settings: SiteConsoleSettings, cluster: Cluster, knative: Knative) -> Iterator[ConsoleServer]:
    deploy(cluster)
    with ExitStack() as stack:
        client = stack.enter_context(SinkClient(connections=1))
        yield open_console(settings, cluster, client, stack)


def post(port: int, event: Event) -> int:
    headers, body = encode_binary(event)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_events_of_a_trigger_are_on_the_pages_after_a_login(
    server: ConsoleServer, settings: SiteConsoleSettings
) -> None:
    assert settings.credentials is not None
    captured = captured_event(1, data=small_jpeg())
    assert post(settings.events_port, captured) == 202
    assert post(settings.events_port, classified_event(captured, label="tulip")) == 202
    browser = HttpsBrowser(server.port, settings.credentials / "tls.crt")
    assert browser.ask("GET", "/")[0] in (302, 303, 401)
    assert browser.log_in("wrong") in (401, 403)
    assert browser.log_in((settings.credentials / "password").read_text().strip()) in (302, 303)
    status, page = browser.ask("GET", "/")
    assert (status, "tulip" in page, "barn" in page) == (200, True, True)
    assert NAME in browser.ask("GET", "/functions")[1]
    images = wait_until(lambda: re.findall(r'src="(/images/[^"]+)"', browser.ask("GET", "/")[1]), what="a thumbnail")
    assert browser.ask("GET", images[0])[0] == 200


def test_it_doesnt_start_open_to_other_machines_without_a_password(
    settings: SiteConsoleSettings, cluster: Cluster, tmp_path: Path
) -> None:
    wide = replace(settings, host="0.0.0.0", credentials=None)
    with ExitStack() as stack:
        client = stack.enter_context(SinkClient(connections=1))
        with pytest.raises(ConfigError, match="password"):
            open_console(wide, cluster, client, stack)
