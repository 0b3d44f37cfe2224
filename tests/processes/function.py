"""A function as a platform starts it: a process of its own, spoken to over sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

import eaves
from tests.waiting import wait_until

MAX_BODY = 100_000


class Function:
    """A running function process, in a folder that holds nothing of the project."""

    def __init__(
        self,
        artifact: Path,
        folder: Path,
        *arguments: str,
        module: str = "functions",
        python: str | Path = sys.executable,
        prefix: Sequence[str] = (),
        **environ: str,
    ) -> None:
        self.log_file = folder / "function.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, python, "-P", "-m", module, *arguments],
                cwd=folder,
                env={
                    **kept,
                    "PYTHONPATH": str(Path(eaves.__file__).parents[1]),
                    "EAVES_ARTIFACT": str(artifact),
                    "EAVES_FUNCTION": "digits",
                    "EAVES_SITE": "barn",
                    "EAVES_HOST": "127.0.0.1",
                    "EAVES_CONCURRENCY": "1",
                    "EAVES_MAX_BODY_BYTES": str(MAX_BODY),
                    "PORT": "0",
                    **environ,
                },
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def port(self) -> int:
        for line in self.log.splitlines():
            if "listening on" in line:
                return int(json.loads(line)["message"].rpartition(":")[2])
        assert self.process.poll() is None, self.log
        return 0

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", wait_until(self.port, 30), timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", wait_until(self.port, 30)), timeout=30)

    def wait_ready(self) -> None:
        wait_until(lambda: self.request("GET", "/health/readiness")[0] == 200, 30, what="readiness")

    def refuses(self) -> bool:
        try:
            self.connect().close()
        except ConnectionError:
            return True
        return False

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def raw_request(image: bytes, *, connection: str = "keep-alive") -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nConnection: {connection}\r\n"
    return f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image


def read_answer(sender: socket.socket) -> tuple[HTTPResponse, Any]:
    response = HTTPResponse(sender)
    response.begin()
    return response, json.loads(response.read())


Start = Callable[..., Function]


@pytest.fixture
def start(tiny_artifact: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Function] = []

    def run(*arguments: str, artifact: Path = tiny_artifact, **environ: str) -> Function:
        started.append(Function(artifact, tmp_path, *arguments, **environ))
        return started[-1]

    yield run
    for function in started:
        function.process.kill()
        function.process.wait()


@contextmanager
def serving(artifact: Path, folder: Path, *, module: str = "functions", **environ: str) -> Iterator[Function]:
    """A function process that serves the artifact and is ready; it ends with the block."""
    function = Function(artifact, folder, module=module, **environ)
    try:
        function.wait_ready()
        yield function
    finally:
        function.process.kill()
        function.process.wait()


@pytest.fixture(scope="module")
def shared_function(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """One process for all tests that only talk to it."""
    with serving(tiny_artifact, tmp_path_factory.mktemp("function")) as function:
        yield function


@pytest.fixture
def image(tiny_artifact: Path) -> bytes:
    return (tiny_artifact / "golden/000.png").read_bytes()
