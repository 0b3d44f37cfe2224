"""Benchmark of one command for 200 sites with simulated API servers, compared with a minimal script.

The minimal script (the floor) sends the requests that the command sent to one site to each of the 200 sites, with
urllib3, one connection per site and as many threads as the command. The simulated servers run on the same machine and
take most of the time of both, so the table also has the CPU time of the command and of the script. For the run with 20
sites that are down, the floor is the time limit for a site's response.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from urllib.parse import urlencode

from bench.measure.timing import print_columns
from eaves.cli.cluster.multi_site import REACH_S
from knative.multi_site import PARALLEL
from tests.cluster.sites import IMAGE, Sites, open_sites, some_down
from tests.fakes.kubernetes.apiserver import Request

Cost = tuple[float, float]
"""Cost of a process: elapsed time and CPU time, both in seconds."""
COUNT, ROUNDS = 200, 3
SECONDS_BAR = 60
FLOOR = """
import json, sys, urllib3
from concurrent.futures import ThreadPoolExecutor
values = json.load(open(sys.argv[1]))
def visit(server):
    with urllib3.PoolManager() as pool:
        for method, path, body in values["asked"]:
            kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
            headers = {"Authorization": "Bearer secret", "Content-Type": kind}
            json.loads(pool.request(method, server + path, body=body or None, headers=headers, retries=False).data)
with ThreadPoolExecutor(values["parallel"]) as threads:
    list(threads.map(visit, values["servers"]))
"""


def main() -> None:
    """Measure `deploy` and `reconcile` for 200 sites, and `deploy` with 20 sites down, and print the table."""
    deployed, reconciled, down = [], [], []
    asked, again = [""], [""]
    for _ in range(ROUNDS):
        with _sites() as sites:
            first = _run(sites, "deploy", IMAGE, "--offline")
            asked = _asked(sites, 0)
            same = _run(sites, "reconcile")
            again = _asked(sites, len(asked))
            reconciled.append((same, _replay(sites, again)))
        with _sites() as sites:
            deployed.append((first, _replay(sites, asked)))
        with _sites() as sites, some_down(sites, refusing=8, hanging=6, forbidding=6, slow=10):
            down.append((_run(sites, "deploy", IMAGE, "--offline", code=69), (REACH_S, 0.0)))
    rows = [
        _row("deploy", deployed, len(asked)),
        _row("reconcile, nothing to do", reconciled, len(again)),
        _row("deploy, 20 down: 8 refuse, 6 are silent, 6 forbid; 10 slow", down, len(asked)),
    ]
    heads = ["", "s", "floor s", "ratio", "CPU s", "floor CPU s", "ratio", "requests a site"]
    print_columns(f"{COUNT} sites, {PARALLEL} at a time (bar: {SECONDS_BAR} s)", heads, rows)


def _row(what: str, pairs: Sequence[tuple[Cost, Cost]], requests: int) -> list[str]:
    cells = []
    for part in range(2):
        value, floor = (statistics.median(cost[part] for cost in column) for column in zip(*pairs, strict=True))
        cells += [f"{value:.1f}", f"{floor:.1f}", f"{value / floor:.2f}"] if floor else [f"{value:.1f}", "", ""]
    return [what, *cells, str(requests)]


@contextmanager
def _measured() -> Iterator[Callable[[], Cost]]:
    """Measure the elapsed time and the CPU time of the child processes that run within the `with` block.

    The yielded function returns the cost after the block has ended.
    """
    before, start, ended = getrusage(RUSAGE_CHILDREN), time.perf_counter(), []
    yield lambda: ended[0]
    after = getrusage(RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ended.append((time.perf_counter() - start, used))


@contextmanager
def _sites() -> Iterator[Sites]:
    with tempfile.TemporaryDirectory() as folder, open_sites(Path(folder), COUNT) as sites:
        yield sites


def _run(sites: Sites, *words: str, code: int = 0) -> Cost:
    """Run an `eaves` command for all sites, and return the elapsed time and the CPU time of its process.

    The benchmark ends with an error when the exit code isn't `code`.
    """
    with _measured() as cost:
        process = sites.start(*words, "--all")
        _, output = process.communicate()
    if process.returncode != code:
        sys.exit(f"error: {words[0]} ended with {process.returncode}: {output[-2000:]}")
    return cost()


def _asked(sites: Sites, start: int) -> list[list[str]]:
    """Return the requests that the last site's API server got, without its first `start` requests.

    Each request is a list of its method, its path with the query, and its body.
    """
    return [[one.method, _url(one), one.body.decode()] for one in sites.clusters[sites.names[-1]].log[start:]]


def _url(request: Request) -> str:
    return f"{request.path}?{urlencode(request.query)}" if request.query else request.path


def _replay(sites: Sites, asked: Sequence[Sequence[str]]) -> Cost:
    """Send the given requests to every site with a minimal script, and return the cost of the script's process."""
    floor_input = sites.folder / "floor.json"
    servers = [one.url for one in sites.clusters.values()]
    floor_input.write_text(json.dumps({"servers": servers, "asked": asked, "parallel": PARALLEL}))
    with _measured() as cost:
        subprocess.run([sys.executable, "-c", FLOOR, str(floor_input)], check=True)
    return cost()
