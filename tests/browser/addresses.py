"""The address of every page of the console, found in the app, so that a new page is tested at once."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.routing import Rule

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from tests.fakes.console.backend import FakeBackend

PARTS = frozenset(
    {
        "static",
        "functions.figures",
        "functions.reasons",
        "images.full",
        "labels.export",
        "labels.photo",
        "labels.rows",
        "login.show",
        "models.run_report",
    }
)
"""Endpoints whose answers are files or parts of a page; and the login page, which has a test of its own."""

QUERIES: Mapping[str, Mapping[str, str]] = {
    "dead_letters.ask_delete": {"seq": "1"},
}
"""Query that a page needs to show something, by endpoint."""


def page_rules() -> list[Rule]:
    """Return the rules of all pages that a browser opens with GET."""
    app = create_app(ConsoleContext(backend=FakeBackend()))
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    return sorted(
        (rule for rule in rules if rule.endpoint not in PARTS and not _is_part(rule.rule)),
        key=lambda rule: rule.rule,
    )


def address_of(app: Flask, endpoint: str, values: Mapping[str, str]) -> str:
    """Return the path of a page, with a value for each of its arguments.

    Args:
        app: The console's app.
        endpoint: Endpoint of the page.
        values: Values by the argument's name, or by `BLUEPRINT.NAME` or `ENDPOINT.NAME` where its meaning differs.
    """
    (rule,) = [rule for rule in app.url_map.iter_rules(endpoint) if "GET" in (rule.methods or ())]
    blueprint = endpoint.rpartition(".")[0]
    keys = {name: (f"{endpoint}.{name}", f"{blueprint}.{name}", name) for name in rule.arguments}
    arguments: dict[str, Any] = {
        name: next((values[key] for key in tried if key in values), None) for name, tried in keys.items()
    }
    assert None not in arguments.values(), f"{rule.rule} needs a sample of its arguments in tests/browser/plant.py"
    with app.test_request_context():
        path = app.url_for(endpoint, **arguments)
    query = QUERIES.get(endpoint, {})
    return f"{path}?{urlencode(query)}" if query else path


def _is_part(path: str) -> bool:
    return path.startswith("/parts/") or path.endswith((".jpg", "/data", "/image"))
