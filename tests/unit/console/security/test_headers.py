"""Requests of other sites' pages, by their headers."""

import pytest

from eaves.console.guard import find_foreign_caller

OWN = {"Host": "localhost:8481"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:8481"])
def test_a_program_of_this_machine_is_admitted(host: str):
    assert not find_foreign_caller("POST", {"Host": host}, loopback_only=True)


@pytest.mark.parametrize("host", ["", "localhost.evil.example", "10.0.0.5:8481"])
def test_a_host_name_that_is_rebound_to_loopback_is_refused(host: str):
    assert "Only programs on this machine" in find_foreign_caller("GET", {"Host": host}, loopback_only=True)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://localhost:3000", "http://[", "localhost:8481"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_origin_is_refused(method: str, origin: str):
    assert "another site" in find_foreign_caller(method, {**OWN, "Origin": origin}, loopback_only=False)


def test_the_consoles_own_page_is_admitted():
    headers = {**OWN, "Origin": "http://localhost:8481", "Sec-Fetch-Site": "same-origin"}
    assert not find_foreign_caller("POST", headers, loopback_only=True)


@pytest.mark.parametrize("site", ["same-site", "anything"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_images_and_frames_of_another_sites_page_are_refused(site: str, more: dict[str, str]):
    headers = {**OWN, "Sec-Fetch-Site": site, **more}
    assert "another site" in find_foreign_caller("GET", headers, loopback_only=True)


def test_a_link_on_another_site_opens_a_page_and_sends_no_form():
    headers = {**OWN, **LINK}
    assert not find_foreign_caller("GET", headers, loopback_only=True)
    assert "another site" in find_foreign_caller("POST", headers, loopback_only=True)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_opens_no_page_without_a_password(name: str):
    headers = {**OWN, name: "10.0.0.5"}
    assert "proxy" in find_foreign_caller("GET", headers, loopback_only=True)
    assert not find_foreign_caller("GET", headers, loopback_only=False)
