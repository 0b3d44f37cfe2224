"""Benchmark of the start, the memory, large images and a damaged image, of Eaves beside other servers."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException

from PIL import Image

from bench.function.start import BARE, measure_bare, median
from bench.material import Material, Setup, measure_each
from bench.measure import LoadError, build_request, send_all, take_turns
from bench.processes import Message, Start, measure_start
from bench.report import Chart, Section, Table, bold
from bench.servers.catalogue import Server, build_ours, install_peers
from bench.servers.running import Running, run_servers
from tests.ports import find_port

ROUNDS = 4
LARGE, LARGE_REQUESTS = (4000, 3000), 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers of a running server to unusual images.

    Attributes:
        large_ms: Median time of a request with a 12-megapixel JPEG, ms; None when the server refuses it.
        truncated: HTTP status of the answer to the first half of a JPEG, or `connection closed`.
    """

    large_ms: float | None
    truncated: str


def measure(setup: Setup) -> Section:
    """Measure every server that can be installed, with each model."""
    return measure_each(setup, _measure)


def _measure(setup: Setup, material: Material) -> Section:
    peers, missing = install_peers(setup, material)
    servers = [build_ours(material)[0], *peers]
    image = material.image.read_bytes()
    with run_servers(servers, image) as (running, failed):
        answers = {one.server.name: _ask_unusual(one, image) for one in running}
    kinds: dict[str, Callable[[], Start]] = {BARE: partial(measure_bare, material)}
    kinds |= {server.name: partial(_start, server, image) for server in servers if server.name in answers}
    starts, broken = take_turns(kinds, setup.rounds(ROUNDS), warm_up=True)
    return build_section(starts, answers, {**missing, **failed, **broken})


def _start(server: Server, image: bytes) -> Start:
    port = find_port()
    return measure_start(*server.start_words(port), port, server.encode(image))


def build_section(
    starts: Mapping[str, Sequence[Start]], answers: Mapping[str, Answers], missing: Mapping[str, str]
) -> Section:
    """Return the section; Eaves' values are bold where a server's median is better."""
    columns = {
        name: [*(median(found, what) for what in ("wall_ms", "cpu_ms", "pss_mb")), _large_ms(answers.get(name))]
        for name, found in starts.items()
    }
    others = [values for name, values in columns.items() if name in answers and not name.startswith("Eaves")]
    rows = []
    for name, values in columns.items():
        best = [min((other[place] for other in others), default=float("inf")) for place in range(4)]
        cells = [
            bold(f"{value:.0f}", when=name.startswith("Eaves") and value > least) if value < float("inf") else ""
            for value, least in zip(values, best, strict=True)
        ]
        ratio = f"{values[0] / columns[BARE][0]:.2f}"
        rows.append((name, *cells, ratio, answers[name].truncated if name in answers else ""))
    rows += [(name, *[""] * 5, reason) for name, reason in missing.items()]
    heads = ("", "start ms", "CPU ms", "PSS MB", "12 MP JPEG, ms", "start of bare", "half a JPEG")
    title = "From exec to the first prediction, median ms (shorter is better)"
    chart = Chart(name="servers-start", title=title, values={name: values[0] for name, values in columns.items()})
    return Section(tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,))


def _large_ms(answers: Answers | None) -> float:
    return float("inf") if answers is None or answers.large_ms is None else answers.large_ms


def _ask_unusual(running: Running, image: bytes) -> Answers:
    encode, stream = running.server.encode, io.BytesIO()
    opened = Image.open(io.BytesIO(image)).convert("RGB")
    opened.resize(LARGE, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    large = encode(stream.getvalue())
    request = build_request(large.body, path=large.path, content_type=large.content_type)
    try:
        load = send_all(running.port, [request] * (1 + LARGE_REQUESTS))
        large_ms = statistics.median(load.latencies_ms[1:])
    except (LoadError, OSError):
        large_ms = None
    return Answers(large_ms=large_ms, truncated=find_fate(running.port, encode(image[: len(image) // 2])))


def find_fate(port: int, message: Message, *, timeout_s: float = 60.0) -> str:
    """Send a request, and return the HTTP status of its answer, or a note that there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", message.path, message.body, {"Content-Type": message.content_type})
        return str(connection.getresponse().status)
    except TimeoutError:
        return "no answer"
    except (HTTPException, ConnectionError):
        return "connection closed"
    finally:
        connection.close()
