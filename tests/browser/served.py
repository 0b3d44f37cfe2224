"""A console on a real socket of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import eaves
from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext
from eaves.console.exposure import ConsoleSettings
from tests.browser.addresses import address_of
from tests.browser.plant import Plant
from tests.waiting import wait_until

COMMAND = [sys.executable, "-P", "-m", "eaves.cli"]
ENVIRON = os.environ | {"PYTHONPATH": str(Path(eaves.__file__).parents[1])}


@contextmanager
def run_platform(folder: Path, **environ: str) -> Iterator[str]:
    """Run `eaves up` in a project's folder; the address of its console."""
    log = folder / "up.log"
    with log.open("wb") as output:
        words = [*COMMAND, "up", "--port", "0", "--console-port", "0"]
        up = subprocess.Popen(words, cwd=folder, env={**ENVIRON, **environ}, stdout=output, stderr=output)
    try:
        yield str(wait_until(lambda: re.findall(r"^console: (\S+)$", log.read_text(), re.MULTILINE), 60)[-1])
    finally:
        up.terminate()
        up.wait(60)


@contextmanager
def serve(plant: Plant, settings: ConsoleSettings | None = None) -> Iterator[ServedConsole]:
    """Serve the console of a plant.

    Args:
        plant: What the pages show.
        security: Who may open the pages.
    """
    made = ServedConsole(ConsoleContext(backend=plant.backend, settings=settings or ConsoleSettings()))
    made.start()
    try:
        yield made
    finally:
        made.stop()


class ServedConsole:
    """A console that a test stops and starts again at the same address.

    Args:
        context: What the pages get.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self.context = context
        self._port = 0
        self._server: ConsoleServer | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Address of the first page."""
        return f"http://{self.host}/"

    def url_of(self, endpoint: str, plant: Plant) -> str:
        """Return the address of a page, with samples of the plant as its arguments."""
        return self.url.rstrip("/") + address_of(create_app(self.context), endpoint, plant.samples())

    def start(self) -> None:
        """Listen; again at the same port after a stop."""
        self._server = ConsoleServer(create_app(self.context), port=self._port)
        self._port = self._server.port

    def stop(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.stop()
            self._server = None
