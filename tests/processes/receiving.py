"""Receivers, in this process or one of their own, and sites that send to them."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, encode_binary
from eaves.http_client.proxies import DIRECT
from eaves.ingress import IngressServer
from eaves.link.protocol import EVENTS, BatchAnswer, parse_batch_answer
from eaves.link.receiver import serving
from eaves.link.settings import ReceiverSettings
from tests.inputs.certificates import Certificate, make_certificate
from tests.ports import find_port, find_ports
from tests.processes.service import ServiceProcess, ask

TOKEN = "token-of-the-mill-0123456789"
SITE = "mill"
NOWHERE = "http://127.0.0.1:9/"
"""Address of a sink that is down."""


def captured(number: int, *, site: str = SITE, data: bytes | None = None, kind: str = "image/jpeg") -> Event:
    """An image."""
    return Event(
        id=f"{number:032x}",
        source=f"/eaves/{site}/gate",
        type=IMAGE_CAPTURED,
        subject=f"gate/{number}.jpg",
        time="2026-11-25T12:00:00Z",
        datacontenttype=kind,
        data=b"\xff\xd8\xff%d" % number if data is None else data,
        extensions={"partitionkey": "gate"},
    )


def classified(number: int, *, site: str = SITE, label: str = "rose", source: str = "flowers") -> Event:
    """A prediction."""
    return Event(
        id=f"id-{number}",
        source=f"/eaves/{site}/{source}",
        type=IMAGE_CLASSIFIED,
        datacontenttype="application/json",
        data=json.dumps({"predictions": [{"label": label, "score": 0.97}], "model": "flowers"}).encode(),
        extensions={"label": label, "confidence": "high"},
    )


def make_credentials(folder: Path, *authorities: Certificate) -> ssl.SSLContext:
    """Write a server's certificate, as a Secret is mounted; what a client needs to trust it."""
    folder.mkdir(exist_ok=True)
    certificate, key = make_certificate(folder / "made")
    (folder / "tls.key").write_bytes(key.read_bytes())
    (folder / "tls.crt").write_bytes(certificate.read_bytes())
    if authorities:
        (folder / "ca.crt").write_bytes(b"".join(one[0].read_bytes() for one in authorities))
    return ssl.create_default_context(cafile=str(certificate))


def write_site(folder: Path, site: str = SITE, *tokens: str) -> Path:
    """Write the file of a site, by renaming, as the kubelet and careful people do."""
    folder.mkdir(exist_ok=True)
    staging = folder / f".{site}"
    staging.write_text("".join(f"{token}\n" for token in tokens or (TOKEN,)))
    return staging.rename(folder / site)


class Sender:
    """What a relay does, by hand.

    Args:
        port: The receiver's.
        tls: What it trusts; None for plain HTTP.
        token: Its bearer token; empty for none.
        timeout_s: For each wait.
    """

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, *, token: str = TOKEN, timeout_s: float = 20
    ) -> None:
        kind: Any = http.client.HTTPConnection if tls is None else http.client.HTTPSConnection
        options = {} if tls is None else {"context": tls}
        self.connection: http.client.HTTPConnection = kind("127.0.0.1", port, timeout=timeout_s, **options)
        self.token = token

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        status, _, found = self.ask_all(method, path, body, headers)
        return status, found

    def ask_all(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.connection.request(method, path, body, {**authorization, **(headers or {})})
        response = self.connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()

    def send(self, events: Sequence[Event]) -> BatchAnswer:
        """A batch, which must be accepted."""
        status, body = self.try_send(events)
        assert status == 200, body
        return parse_batch_answer(body, len(events))

    def try_send(self, events: Iterable[Event]) -> tuple[int, bytes]:
        headers = {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
        return self.ask("POST", EVENTS, gzip.compress(b"".join(encode_batch(events))), headers)

    def send_alone(self, event: Event) -> tuple[int, bytes]:
        headers, body = encode_binary(event)
        return self.ask("POST", EVENTS, body, headers)


class Served:
    """A receiver in this process."""

    def __init__(self, server: IngressServer, settings: ReceiverSettings, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.settings = settings
        self.tls = tls

    @property
    def port(self) -> int:
        return self.server.port

    def sender(self, **options: Any) -> Sender:
        return Sender(self.port, self.tls, **options)

    def report(self) -> dict[str, Any]:
        """What it says about itself: `received`, and the queue's `report`."""
        found: dict[str, Any] = json.loads(ask(self.settings.health_port, "GET", "/health")[1])
        return found

    def metrics(self) -> str:
        return ask(self.settings.health_port, "GET", "/metrics")[1].decode()

    def queued(self) -> int:
        return sum(lane["queued"] for lane in self.report()["report"]["lanes"])


@contextmanager
def receiving(
    place: Path, *, tls: bool = True, authorities: Sequence[Certificate] = (), **settings: Any
) -> Iterator[Served]:
    """A receiver with one site and its files in `place`; its sink is down unless the settings say otherwise."""
    if not (place / "sites").exists():
        write_site(place / "sites")
    trusting = make_credentials(place / "credentials", *authorities) if tls else None
    values: dict[str, Any] = {
        "port": 0,
        "health_port": find_port(),
        "credentials": place / "credentials" if tls else None,
        "sites": place / "sites",
        "spool": place / "receiver.db",
        "sink": "" if settings.get("folder") else NOWHERE,
    }
    made = ReceiverSettings(**{**values, **settings})
    with serving(made, DIRECT) as server:
        yield Served(server, made, trusting)


class ReceiverProcess(ServiceProcess):
    """A receiver as a process of its own, on plain HTTP: what kills it doesn't ask for TLS.

    Args:
        folder: Folder of the receiver's files.
        environ: More of its settings.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        port, health_port = find_ports(2)
        if not (folder / "sites").exists():
            write_site(folder / "sites")
        settings = {
            "EAVES_SITES": str(folder / "sites"),
            "EAVES_SPOOL": str(folder / "receiver.db"),
            "EAVES_HEALTH_PORT": str(health_port),
            "PORT": str(port),
            **({} if "EAVES_FOLDER" in environ else {"K_SINK": NOWHERE}),
            **environ,
        }
        super().__init__("eaves.link.receiver", folder / "receiver.log", settings, port=port, health_port=health_port)

    def sender(self, **options: Any) -> Sender:
        return Sender(self.port, **options)
