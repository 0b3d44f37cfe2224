"""An hour behind proxies that refuse good images for reasons of their own: none is lost or becomes a dead letter."""

from __future__ import annotations

import http.server
import os
import random
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from eaves.base.backoff import UNLIMITED
from eaves.delivery import SinkClient, SinkResponse
from eaves.delivery.evidence import ROUNDS
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.spool import Entry, Puts, Spool, SpoolLimits
from tests.fakes.clock import ManualClock
from tests.ports import find_ports
from tests.unit.delivery.harness import delivering
from tests.waiting import wait_until

HOUR_S = 3600.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
POISON = "poison"
"""Subject that nginx's firewall rule refuses, and no other."""
CORRUPT = "corrupt"
"""Subject that the function refuses with a problem document."""
LARGE_BYTES = 1_100_000
"""Size of an image that is above nginx's default limit of 1 MB."""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{open}; client_max_body_size 8m; location / {{
    if ($http_ce_subject = "poison") {{ return 403; }} proxy_pass http://127.0.0.1:{server}; }} }}
  server {{ listen 127.0.0.1:{small}; location / {{ proxy_pass http://127.0.0.1:{server}; }} }}
  server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{server}; }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 10s
  timeout server 10s
listen away
  bind 127.0.0.1:{away}
  server none 127.0.0.1:{closed}
listen strict
  bind 127.0.0.1:{strict}
  http-request deny deny_status 400 if {{ req.hdr(content-type) -m beg image/ }}
listen busy
  bind 127.0.0.1:{busy}
  http-request deny deny_status 429
"""
PAGE = b"<!DOCTYPE html><html><title>Welcome to Hotel WiFi</title><form>room number</form></html>"


class Receiver(BaseHTTPRequestHandler):
    """A function that predicts every image that isn't corrupt, or at /sink a sink that takes it."""

    protocol_version = "HTTP/1.1"
    got: Counter[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        event_id, headers, answer = self.headers["ce-id"], {}, b""
        assert len(body) == int(self.headers["ce-sequence"])
        if self.headers["ce-subject"] == CORRUPT:
            status, answer = 422, b'{"type": "urn:eaves:problem:image", "status": 422, "detail": "not an image"}'
        elif self.path == "/sink":
            status = 202
        else:
            status, answer = 200, b"{}"
            headers = {"ce-specversion": "1.0", "ce-id": f"r-{event_id}", "ce-source": "/eaves/site/function"}
            headers |= {"ce-type": IMAGE_CLASSIFIED, "content-type": "application/json"}
        if status < 300:
            self.got[event_id] += 1
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


class Portal(BaseHTTPRequestHandler):
    """A captive portal: its page for one request, a redirect to its page for the next."""

    protocol_version = "HTTP/1.1"
    requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).requests += 1
        redirects = self.requests % 2 == 0
        self.send_response(302 if redirects else 200)
        if redirects:
            self.send_header("location", "http://portal.example/login")
        body = b"" if redirects else PAGE
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": PATH})
        try:
            yield
        finally:
            process.kill()
            process.wait(10)


@contextmanager
def open_ways(folder: Path) -> Iterator[tuple[type[Receiver], dict[str, str]]]:
    """A receiver and the addresses of all ways to it, by name; each is a real server on loopback."""
    for program in ("nginx", "haproxy", "openssl"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")
    receiver = type("CountingReceiver", (Receiver,), {"got": Counter()})
    names = ("open", "small", "tls", "away", "strict", "busy", "closed")
    ports = dict(zip(names, find_ports(len(names)), strict=True))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    with ExitStack() as stack:
        ports["server"] = stack.enter_context(serving(receiver))
        ports["portal"] = stack.enter_context(serving(type("CountingPortal", (Portal,), {})))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, **ports))
        (folder / "haproxy.cfg").write_text(HAPROXY.format(**ports))
        stack.enter_context(
            running(folder, "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr")
        )
        stack.enter_context(running(folder, "haproxy", "-db", "-f", str(folder / "haproxy.cfg")))
        ways = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        with SinkClient() as client:
            for name in (name for name in names if name != "closed"):
                wait_until(lambda name=name: _answers(client, ways[name]), what=f"the proxy {name}")  # type: ignore[misc]
        yield receiver, ways


def _answers(client: SinkClient, url: str) -> bool:
    try:
        return client.request("GET", url, timeout_s=5.0).status > 0
    except Exception:  # noqa: BLE001 - it doesn't listen yet
        return False


def build_images(count: int) -> list[Event]:
    """So many good images, of which each 25th is large, and among them two that are refused for good."""
    names = [f"{number}.jpg" for number in range(count)]
    names.insert(count * 11 // 60, CORRUPT)  # in the 12th minute, when the way works
    names.insert(count // 3, POISON)
    sizes = [LARGE_BYTES if number % 25 == 0 and name.endswith("jpg") else 2_000 for number, name in enumerate(names)]
    return [
        Event(
            id=f"id-{name}",
            source="/eaves/site/camera",
            type=IMAGE_CAPTURED,
            subject=name,
            datacontenttype="image/jpeg",
            extensions={"sequence": str(size)},
            data=bytes(size),
        )
        for name, size in zip(names, sizes, strict=True)
    ]


@pytest.mark.parametrize("path", ["/", "/sink"], ids=["function", "sink"])
@pytest.mark.parametrize("count", [300, pytest.param(5_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_an_hour_behind_proxies_and_a_portal_costs_no_good_image(tmp_path: Path, count: int, path: str) -> None:
    images, clock, attempts = build_images(count), ManualClock(), Counter[str]()
    good = {image.id for image in images if image.subject not in (POISON, CORRUPT)}
    with open_ways(tmp_path) as (receiver, ways), SinkClient() as client:
        faulty = [ways[name] for name in ("small", "tls", "away", "strict", "busy", "portal")]
        is_function = path == "/"

        def send(event: Event) -> SinkResponse:
            # The way works in the first half of each ten minutes, and has a fault of its own in the second.
            period, within = divmod(clock.monotonic() % HOUR_S, HOUR_S / len(faulty))
            is_sound = within < HOUR_S / len(faulty) / 2 or clock.monotonic() > HOUR_S
            way = ways["open"] if is_sound else faulty[int(period)]
            return client.post(way + path, event, prefer_reply=is_function, timeout_s=10.0)

        def keep(entry: Entry, reply: Event) -> Puts:
            return []

        def count_attempt(entry: Entry, *_: object) -> None:
            attempts[entry.event.id] += 1

        limits = SpoolLimits(max_bytes=1 << 30, dead_max_bytes=1 << 30)
        with Spool(tmp_path / "spool.db", clock=clock, limits=limits) as spool:
            options = {
                "on_reply": keep if is_function else None,
                "reply_required": is_function,
                "observe": count_attempt,
            }
            with delivering(spool, send, lane="images", backoff=UNLIMITED, jitter=random.random, **options):
                for image in images:
                    spool.put(image, lanes=("images",))
                    _pass_time(clock, HOUR_S / len(images))
                for _ in range(3600):
                    if spool.counts().get("images", (0, 0))[0] == 0:
                        break
                    _pass_time(clock, 1.0)
                assert spool.counts().get("images") == (0, 2)
            dead = {letter.entry.event.subject: letter for letter in spool.dead()}
            assert spool.expired() == 0
    assert set(receiver.got) == good
    assert dead.keys() == {POISON, CORRUPT}
    assert "403" in dead[POISON].reason
    assert ROUNDS <= attempts[f"id-{POISON}"] < 3 * ROUNDS
    assert attempts[f"id-{CORRUPT}"] == 1


def _pass_time(clock: ManualClock, seconds: float) -> None:
    """Let time pass from one due wait to the next, so that no wait lasts longer than it asked for."""
    until = clock.monotonic() + seconds
    while (left := until - clock.monotonic()) > 0:
        wait_until(lambda: clock.waiting, 60, pause_s=0.0005)
        clock.turn(max(0.001, min(left, clock.next_due_s() or left)))
