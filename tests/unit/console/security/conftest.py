"""Consoles on loopback and behind a password, and a browser."""

from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from eaves.platform import FunctionStatus
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import Browser
from tests.unit.console.security.sample_app import HTTPS, PASSWORD, build_app


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def local(clock: ManualClock) -> ConsoleContext:
    backend = FakeBackend(functions=[FunctionStatus(name="flowers", state="ready")])
    return ConsoleContext(backend=backend, clock=clock)


@pytest.fixture
def guarded(local: ConsoleContext, tmp_path: Path) -> ConsoleContext:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return replace(local, settings=ConsoleSettings(host="0.0.0.0", credentials=tmp_path, state=tmp_path))


@pytest.fixture
def app(guarded: ConsoleContext) -> Flask:
    return build_app(guarded)


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app, HTTPS)
