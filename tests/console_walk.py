"""Opens every page of a console: where the links of its pages lead, and each address of the app's own map."""

import html
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Rule

from eaves.console.app import NAVIGATION

Ask = Callable[[str], tuple[int, str]]
"""Function that opens a path; it returns the status and the text of the answer."""
LINKS = re.compile(r'(?:href|src|hx-get)="(/[^"#]*)')
GONE = frozenset({"images.thumbnail", "images.full", "functions.log"})
"""Endpoints of what may be gone although a link leads to it: an old image, the log of a function without a replica."""
PER_ENDPOINT = 6
"""Maximum number of links that are followed to one kind of page."""
VALUES: Mapping[str, str | int] = {
    "filename": "console.css",
    "seq": 1,
    "change": "rollback",
    "digest": "0" * 32,
    "file": "photo.jpg",
    "kind": "train",
    "key": "0" * 32,
    "queue": "broker",
    "name": "flowers",
}
"""Values for the arguments of addresses to which no link leads."""


def open_every_page(ask: Ask, app: Flask) -> set[str]:
    """Follow all links from the first page, then open every other address that answers GET.

    Any other address may have nothing to show at this platform or in a read-only console.

    Args:
        ask: Opens a path as somebody who has logged in.
        app: An app with the same addresses.

    Returns:
        The endpoints that links led to.
    """
    addresses = app.url_map.bind("localhost")
    found, waiting, opened = {"/"}, deque(["/"]), Counter[str]()
    while waiting:
        path = waiting.popleft()
        endpoint, _ = addresses.match(urlsplit(path).path, "GET")
        if opened[endpoint] == PER_ENDPOINT:
            continue
        opened[endpoint] += 1
        status, text = ask(path)
        assert status == 200 or (status == 404 and endpoint in GONE), (path, status, text[:2_000])
        if endpoint != "static":
            links = {html.unescape(link) for link in LINKS.findall(text)} - found
            found |= links
            waiting.extend(sorted(links))
    for rule in _list_others(app, opened):
        path = addresses.build(rule.endpoint, {name: VALUES[name] for name in rule.arguments})
        status, text = ask(path)
        assert status in (200, 303, 403, 404), (path, status, text[:2_000])
    everywhere = {endpoint for endpoint, _ in NAVIGATION} - {"labels.show"}  # which a site's console doesn't have
    assert everywhere <= opened.keys()
    return set(opened)


def _list_others(app: Flask, opened: Mapping[str, int]) -> list[Rule]:
    return [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and rule.endpoint not in opened]
