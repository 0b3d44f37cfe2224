"""Benchmark of cold starts through Knative: functions and a trivial server (the floor) in turn, split into phases.

The phase `launch` ends when the function's process is executed: it is the share of Knative and the node.

The functions are deployed from container images that the cluster can pull, into a namespace of their own that is
deleted at the end: KUBECONFIG names the cluster, EAVES_BENCH_FUNCTIONS the images as `fp32=IMAGE,int8=IMAGE`, and
EAVES_BENCH_FLOOR that of a server that does almost nothing. A round takes about a minute, since every function has to
scale to zero before it: 6 s without requests, and Knative's grace period of 30 s.
"""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cold_start import PHASES, ColdStart, measure_cold_start
from bench.material import Setup
from bench.report import Figure, Section, Table, UnavailableError
from eaves.platform import FunctionSpec, ScaleSettings
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import KSERVICE, NAMESPACE
from knative.resources.function import build_function
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from knative.status.readiness import wait_ready, wait_routed

ROUNDS = 7
BAR_S = 0.25
"""Seconds that a cold start may take above the floor's."""
MANAGER = "eaves-bench"
FLOOR = "floor"
IDLE_S = 6.0
"""Window in seconds; the shortest that Knative allows."""
READY_S = 300.0


def measure(setup: Setup) -> Section:
    """Measure cold starts of the functions and of the floor in turn.

    Raises:
        UnavailableError: When no cluster or no container images are named.
    """
    kubeconfig, named = (setup.environ.get(name, "") for name in ("KUBECONFIG", "EAVES_BENCH_FUNCTIONS"))
    if not kubeconfig or not named:
        raise UnavailableError("it needs KUBECONFIG and EAVES_BENCH_FUNCTIONS (see bench/knative.py)")
    images = dict(one.split("=", 1) for one in named.split(","))
    with open_namespace(Path(kubeconfig)) as cluster:
        names = deploy(cluster, images, setup.environ.get("EAVES_BENCH_FLOOR", ""), KnativeSettings())
        return build_section(measure_in_turn(cluster, names, setup.models[0].image.read_bytes(), setup.rounds(ROUNDS)))


def measure_in_turn(cluster: Cluster, names: Sequence[str], image: bytes, rounds: int) -> dict[str, list[ColdStart]]:
    """Return the cold starts of each function; they take turns, and each round begins with another one."""
    found: dict[str, list[ColdStart]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(measure_cold_start(cluster, name, b"" if name == FLOOR else image))
    return found


def build_section(found: Mapping[str, Sequence[ColdStart]]) -> Section:
    """Return the section of all cold starts by the function's name, with the floor's name `floor`."""
    rows = {name: _medians(starts) for name, starts in found.items()}
    floor_ms, figures = rows.get(FLOOR, {}).get("total"), []
    for name, medians in rows.items():
        if floor_ms is not None and name != FLOOR:
            text = f"{medians['total'] / 1000:.2f} s, trivial server {floor_ms / 1000:.2f} s"
            above_s = (medians["total"] - floor_ms) / 1000
            what = f"{name}, above the trivial server"
            figures.append(Figure(name=what, value=above_s, unit="s", bar=BAR_S, measured=text))
    phases = [phase for phase in (*PHASES, "total", "warm") if any(phase in medians for medians in rows.values())]
    cells = tuple(
        (phase, *(f"{medians[phase]:.0f}" if phase in medians else "" for medians in rows.values())) for phase in phases
    )
    title = f"Medians of {len(next(iter(found.values())))} rounds, ms:"
    return Section(figures=tuple(figures), tables=(Table(title=title, heads=("phase", *rows), rows=cells),))


def _medians(starts: Sequence[ColdStart]) -> dict[str, float]:
    phases = [{**start.phases_ms} | {"total": start.total_ms, "warm": start.warm_ms} for start in starts]
    return {name: statistics.median(one.get(name, 0.0) for one in phases) for name in phases[0]}


@contextmanager
def open_namespace(kubeconfig: Path) -> Iterator[Cluster]:
    """Make a namespace, and delete it at the end."""
    name = f"eaves-bench-{secrets.token_hex(3)}"
    cluster = open_cluster(kubeconfig=kubeconfig, context="", namespace=name)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager=MANAGER)
    try:
        yield cluster
    finally:
        cluster.delete(NAMESPACE, name)


def deploy(cluster: Cluster, images: Mapping[str, str], floor_image: str, settings: KnativeSettings) -> list[str]:
    """Apply the functions as `eaves deploy` does, and the floor; wait until each has been ready; return their names."""
    site = SiteSettings(name="bench", namespace=cluster.namespace)
    manifests = []
    for name, image in images.items():
        scale = ScaleSettings(min=0, max=1, idle_s=IDLE_S)
        function = FunctionSpec(name=name, scale=scale, site=site.name, env={"EAVES_TIMING": "yes"})
        manifests.append(build_function(ClusterApp(function=function, image=image, knative=settings, site=site)))
    if floor_image:
        manifests.append(_build_floor(manifests[0], floor_image))
    for manifest in manifests:
        cluster.apply(manifest, manager=MANAGER)
    names = [str(manifest["metadata"]["name"]) for manifest in manifests]
    for name in names:
        wait_ready(cluster, name, timeout_s=READY_S)
        wait_routed(cluster, name)
    return names


def _build_floor(function: Mapping[str, Any], image: str) -> dict[str, Any]:
    """Build the floor: the scaling, requests and limits of a function, but Knative's own probe and no volume."""
    template = function["spec"]["template"]
    (container,) = template["spec"]["containers"]
    kept = {name: container[name] for name in ("name", "ports", "resources", "securityContext")}
    labels = function["metadata"].get("labels", {})
    spec = {"containerConcurrency": 1, "enableServiceLinks": False, "containers": [{**kept, "image": image}]}
    return {
        "apiVersion": KSERVICE.api_version,
        "kind": KSERVICE.kind,
        "metadata": {"name": FLOOR, "labels": {**labels, "app.kubernetes.io/name": FLOOR}},
        "spec": {"template": {"metadata": {"annotations": template["metadata"]["annotations"]}, "spec": spec}},
    }
