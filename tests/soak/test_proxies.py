"""An hour behind proxies that refuse good images for reasons of their own: none is lost or becomes a dead letter."""

import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from eaves.base.backoff import UNLIMITED
from eaves.delivery import SinkClient, SinkResponse
from eaves.delivery.evidence import ROUNDS
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.spool import Entry, Puts, Spool, SpoolLimits
from tests.fakes.clock import ManualClock
from tests.fakes.http.server import Asked, open_server, respond
from tests.inputs.certificates import make_certificate
from tests.ports import find_ports, is_listening
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
  server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
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
PORTAL = respond(302, Location="http://portal.example/login")
"""A captive portal answers with its page and with a redirect to it, in turn."""


class Receiver:
    """A function that predicts every image that isn't corrupt, or at /sink a sink that takes it.

    Attributes:
        got: How often each event was taken.
    """

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()

    def answer(self, asked: Asked) -> bytes:
        event_id = asked.headers.get("ce-id", "")
        if asked.headers.get("ce-subject") == CORRUPT:
            return respond(422, b'{"type": "urn:eaves:problem:image", "status": 422, "detail": "not an image"}')
        assert len(asked.body) == int(asked.headers.get("ce-sequence", "0"))
        self.got[event_id] += 1
        if asked.target == "/sink":
            return respond(202)
        reply = {"ce-specversion": "1.0", "ce-id": f"r-{event_id}", "ce-source": "/eaves/site/function"}
        reply |= {"ce-type": IMAGE_CLASSIFIED, "content-type": "application/json"}
        return respond(200, b"{}", *reply.items())


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
def open_ways(folder: Path) -> Iterator[tuple[Receiver, dict[str, str]]]:
    """A receiver and the addresses of all ways to it, by name; each is a real server on loopback."""
    for program in ("nginx", "haproxy"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")
    names = ("open", "small", "tls", "away", "strict", "busy", "closed")
    ports = dict(zip(names, find_ports(len(names)), strict=True))
    certificate, key = make_certificate(folder / "tls")
    receiver, pages = Receiver(), cycle((respond(body=PAGE, Content_Type="text/html"), PORTAL))
    with (
        open_server(receiver.answer) as server,
        open_server(lambda _: next(pages)) as portal,
    ):
        ports |= {name: int(one.url.rpartition(":")[2]) for name, one in (("server", server), ("portal", portal))}
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, certificate=certificate, key=key, **ports))
        (folder / "haproxy.cfg").write_text(HAPROXY.format(**ports))
        config = str(folder / "nginx.conf")
        with (
            running(folder, "nginx", "-p", str(folder), "-c", config, "-e", "stderr"),
            running(folder, "haproxy", "-db", "-f", str(folder / "haproxy.cfg")),
        ):
            for name in ("open", "small", "tls", "away", "strict", "busy"):
                wait_until(partial(is_listening, ports[name]), what=f"the proxy {name}")
            yield receiver, {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


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


@pytest.mark.long("300 images are sent through six faulty proxies and pages, and sent again")
@pytest.mark.parametrize("path", ["/", "/sink"], ids=["function", "sink"])
def test_an_hour_behind_proxies_and_a_portal_costs_no_good_image(tmp_path: Path, path: str):
    images, clock, attempts = build_images(300), ManualClock(), Counter[str]()
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
