"""A deploy says so when a part of the app beside its function can't start, and `eaves status` has a line for it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eaves.events import IMAGE_CLASSIFIED
from knative.client.kinds import BROKER
from tests.e2e.harness import KnativeSink
from tests.e2e.places import NAME, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
UNAVAILABLE = 69
PACKAGE = """\
from dataclasses import dataclass
from eaves.sources import SourceContext, SourceKind


@dataclass(frozen=True, kw_only=True)
class Settings:
    pass


def run(settings: Settings, context: SourceContext) -> None:
    pass


KIND = SourceKind(settings=Settings, run=run)
"""


def install(folder: Path) -> Path:
    """A kind of source that is installed where one renders, and not in the agents' container image."""
    information = folder / "theirs-1.dist-info"
    information.mkdir(parents=True)
    (folder / "theirs.py").write_text(PACKAGE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[eaves.sources]\ntheirs = theirs:KIND\n")
    return folder


def run(place: Place, package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command with that package installed."""
    environment = place.environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{package}"
    return subprocess.run(
        place.command(*words),
        cwd=place.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def left(place: Place) -> dict[str, dict[str, Any]]:
    """The parts that aren't ready."""
    row = place.read_status()
    return {f"{part['kind']} {part['name']}": part for part in row["parts"] if part["state"] != "ready"}


def causes(place: Place) -> dict[str, str]:
    """The same, each with its cause."""
    return {title: str(part["cause"]) for title, part in left(place).items()}


def test_a_deploy_whose_agent_ends_again_and_again_says_so(
    place: Place, outside: KnativeSink, image: str, agent_image: str, tmp_path: Path
):
    package = install(tmp_path / "theirs")
    triggers = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "url": outside.url}]
    sources = [{"name": "odd", "kind": "theirs", "spool_size": "100Mi"}]
    place.configure(sources=sources, triggers=triggers, knative={"agent_image": agent_image})
    done = run(place, package, "deploy", image, "--plain-http", "--timeout", "240")
    assert done.returncode == UNAVAILABLE, done.stderr
    last = done.stderr.splitlines()[-2:]
    assert f"StatefulSet {NAME}-odd: the process ended with exit code" in last[0]
    assert "there is no source kind 'theirs'" in last[0]
    assert f"eaves logs {NAME}.odd --on knative" in last[1]

    place.configure()  # status and logs look at the cluster, and need no such package
    part = left(place)[f"StatefulSet {NAME}-odd"]
    assert (part["state"], part["cause"], part["pods"]) == ("failed", "crash", "0/1")
    assert part["age_s"] < 300
    table = place.eaves("status").stdout
    assert f"StatefulSet {NAME}-odd" in table
    assert "degraded" in table
    assert "there is no source kind 'theirs'" in place.eaves("logs", f"{NAME}.odd", "--on", "knative").stdout


def test_a_deploy_names_the_agents_container_image_that_is_missing_then_the_trigger_that_leads_nowhere(
    place: Place, image: str, registry: str
):
    nowhere = [{"name": "out", "filter": {"type": IMAGE_CLASSIFIED}, "function": "nobody"}]
    gone = f"{registry}/eaves-agent@sha256:{'0' * 64}"
    source = {"name": "gate", "kind": "http", "url": "http://camera.invalid/snap.jpg", "spool_size": "100Mi"}
    place.configure(sources=[source], triggers=nowhere, knative={"agent_image": gone})
    done = place.deploy(image, "--timeout", "240", codes=(UNAVAILABLE,))
    assert f"StatefulSet {NAME}-gate: " in done.stderr
    assert "knative.agent_image" in done.stderr.splitlines()[-1]

    place.configure(triggers=nowhere)
    done = place.deploy(image, "--timeout", "240", codes=(UNAVAILABLE,))
    assert f"Trigger {NAME}-out: its subscriber can't be resolved: " in done.stderr.splitlines()[-2]
    assert left(place)[f"Trigger {NAME}-out"]["cause"] == "destination"
    assert place.status().state == "degraded"

    place.configure()
    place.deploy(image)
    assert left(place) == {}
    assert place.status().state in {"ready", "idle"}

    place.cluster.delete(BROKER, "eaves")
    expected = {"Broker eaves": "missing", f"Trigger {NAME}": "broker"}
    wait_until(lambda: causes(place).items() >= expected.items(), 60, pause_s=1, what="a Broker that is missing")
