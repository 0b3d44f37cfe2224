"""Benchmark of the start, the memory, large images and a damaged image, of Eaves beside other servers."""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from PIL import Image

from bench.function.process import Message, Start, measure_bare, measure_start
from bench.material import Material, Setup, measure_each
from bench.measure.load import LoadError, build_request, send_all
from bench.report.section import Bar, Chart, Section, Table, bold
from bench.servers.catalogue import Server, build_ours, install_peers
from bench.servers.running import Running, run_servers
from tests.ports import find_port

ROUNDS = 4
"""Number of cold starts of each server; the servers alternate. One more round runs first and isn't counted."""
LARGE, LARGE_REQUESTS = (4000, 3000), 6
BARE = "bare script, exported fp32"


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
    working = [server for server in servers if server.name in answers]
    starts = measure_starts(material, working, setup.rounds(ROUNDS))
    return build_section(starts, answers, {**missing, **failed})


def measure_starts(material: Material, servers: Sequence[Server], rounds: int) -> dict[str, list[Start]]:
    """Start the bare script and each server in turn; return the measurements of each by name."""
    image = material.image
    found: dict[str, list[Start]] = {name: [] for name in (BARE, *(server.name for server in servers))}
    for number in range(rounds + 1):  # the first round compiles byte code and fills the page cache
        print(f"starting every server: round {number} of {rounds}", file=sys.stderr, flush=True)
        bare = measure_bare(material.exported, image)
        found[BARE] += [bare] if number else []
        for server in servers:
            port = find_port()
            start = measure_start(*server.start_words(port), port, server.encode(image.read_bytes()))
            found[server.name] += [start] if number else []
    return found


def build_section(
    starts: Mapping[str, Sequence[Start]], answers: Mapping[str, Answers], missing: Mapping[str, str]
) -> Section:
    """Return the section; Eaves' values are bold where a server's median is better."""

    def median(name: str, what: str) -> float:
        return float(statistics.median(getattr(one, what) for one in starts[name]))

    rows = []
    names = ("wall_ms", "cpu_ms", "proportional_mb")
    others = [name for name in starts if name in answers and not name.startswith("Eaves")]
    for name in starts:
        cells = [name]
        for what in names:
            loses = name.startswith("Eaves") and any(median(other, what) < median(name, what) for other in others)
            cells.append(bold(f"{median(name, what):.0f}", when=loses))
        cells.append(f"{median(name, 'wall_ms') / median(BARE, 'wall_ms'):.2f}")
        answer = answers.get(name)
        large = "" if answer is None else _render_large(name, answer.large_ms, answers)
        rows.append((*cells, large, "" if answer is None else answer.truncated))
    rows += [(name, *[""] * 5, reason) for name, reason in missing.items()]
    heads = ("", "start ms", "CPU ms", "PSS MB", "start of bare", "12 MP JPEG, ms", "half a JPEG")
    chart = Chart(
        name="servers-start",
        title="From exec to the first prediction, median ms (shorter is better)",
        bars=tuple(
            Bar(
                label=name.partition(",")[0],
                values=(median(name, "wall_ms"),),
                is_ours=name.startswith("Eaves"),
                note=f"{median(name, 'wall_ms'):.0f} ms",
            )
            for name in starts
        ),
    )
    return Section(tables=(Table(heads=heads, rows=tuple(rows)),), charts=(chart,))


def _render_large(name: str, large_ms: float | None, answers: Mapping[str, Answers]) -> str:
    if large_ms is None:
        return bold("refused", when=name.startswith("Eaves"))
    others = [one.large_ms for other, one in answers.items() if other != name and one.large_ms is not None]
    return bold(f"{large_ms:.0f}", when=name.startswith("Eaves") and any(other < large_ms for other in others))


def write_large(image: bytes) -> bytes:
    """Return the image as a JPEG of 12 megapixels."""
    stream = io.BytesIO()
    opened = Image.open(io.BytesIO(image)).convert("RGB")
    opened.resize(LARGE, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _ask_unusual(running: Running, image: bytes) -> Answers:
    encode = running.server.encode
    large = encode(write_large(image))
    request = build_request(large.body, path=large.path, content_type=large.content_type)
    try:
        load = send_all(running.port, [request], connections=1, count=1 + LARGE_REQUESTS)
        large_ms = statistics.median(load.latencies_ms[1:])
    except (LoadError, OSError):
        large_ms = None
    return Answers(large_ms=large_ms, truncated=find_fate(running.port, encode(image[: len(image) // 2])))


def find_fate(port: int, message: Message, *, timeout_s: float = 60.0) -> str:
    """Send a request, and return the HTTP status of its response, or a note that there is none."""
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
