"""The app: its pages and their common parts."""

from __future__ import annotations

from eaves.console.app import create_app
from eaves.console.context import ConsoleContext
from eaves.console.settings import ConsoleSettings
from eaves.platform import FunctionStatus
from tests.fakes.console.backend import FakeBackend


def test_a_hostile_name_is_escaped() -> None:
    backend = FakeBackend(title="<b>", functions=[FunctionStatus(name="<script>", state="ready")])
    app = create_app(ConsoleContext(backend=backend, settings=ConsoleSettings()))
    text = app.test_client().get("/").text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text
