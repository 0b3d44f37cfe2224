"""An object store with the S3 API in this process (moto), over real HTTP."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret/+="}


@dataclass(frozen=True, kw_only=True)
class Store:
    """A running store.

    Attributes:
        url: Its endpoint.
        s3: boto3's client of the store, for what the outside world does.
        requests: Lines of its log, one a request: `GET /photos/?list-type=2 HTTP/1.1" 200 -`.
    """

    url: str
    s3: Any
    requests: list[str] = field(default_factory=list)

    def put(self, bucket: str, *keys: str, data: bytes = b"\xff\xd8\xff") -> None:
        """Store objects whose content differs."""
        for key in keys:
            self.s3.put_object(Bucket=bucket, Key=key, Body=data + key.encode())

    def fill(self, bucket: str, count: int, folder: str = "gate/2026") -> None:
        """Store many objects without a request for each."""
        from moto.s3.models import s3_backends  # the store runs in this process

        backend = s3_backends["123456789012"]["aws"]
        for number in range(count):
            backend.put_object(bucket, f"{folder}/{number:06}.jpg", b"\xff\xd8\xff%d" % number)

    def count(self, part: str) -> int:
        """Number of requests whose line contains a text."""
        return sum(part in line for line in self.requests)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextmanager
def open_store() -> Iterator[Store]:
    """A running store; the test is skipped where moto isn't installed."""
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3")
    lines: list[str] = []
    log, handler = logging.getLogger("werkzeug"), _Lines(lines)
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        client = boto3.client("s3", endpoint_url=url, **KEYS)
        yield Store(url=url, requests=lines, s3=client)
        client.close()
    finally:
        server.stop()
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def write_keys(folder: Path, secret: str = KEYS["aws_secret_access_key"]) -> Path:
    """Write credentials as a Secret holds them, and return their folder."""
    folder.mkdir(exist_ok=True)
    (folder / "access_key").write_text(f"{KEYS['aws_access_key_id']}\n")
    (folder / "secret_key").write_text(f"{secret}\n")
    return folder
