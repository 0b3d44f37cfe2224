"""Two deployers and a clock deploy to one namespace: nothing newer is reverted, and one of two at once fails."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from knative.client.kinds import KSERVICE, REVISION
from knative.inventory import DeploymentRecord, read_inventory
from knative.status.conditions import image_of
from tests.e2e.places import NAME, SITE, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def laptop(place: Place, tmp_path: Path) -> Place:
    """Another workspace of the same project, for the same namespace."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    made = replace(place, folder=folder)
    made.configure()
    return made


def last(place: Place) -> DeploymentRecord:
    deployment = read_inventory(place.cluster, NAME).deployment
    assert deployment is not None
    return deployment


def revisions(place: Place) -> int:
    return len(place.cluster.list(REVISION))


def test_a_reconcile_from_another_workspace_takes_no_newer_deploy_back(
    place: Place, laptop: Place, image: str, second_image: str
) -> None:
    place.eaves("deploy", image, "--plain-http")
    laptop.eaves("deploy", second_image, "--plain-http")
    assert f"deployed {second_image} at " in laptop.eaves("promote", NAME).stderr
    for _ in range(2):
        place.eaves("reconcile")
        laptop.eaves("reconcile")
    assert (image_of(place.cluster.get(KSERVICE, NAME)), last(place).image) == (second_image, second_image)
    assert (last(place).sequence, revisions(place)) == (2, 2)
    assert place.status().traffic == (f"{NAME}-00002 100 %",)
    place.eaves("rollback", NAME)
    laptop.eaves("reconcile")
    assert place.status().traffic == (f"{NAME}-00001 100 %",)
    laptop.configure(scale={"max": 2})
    laptop.eaves("deploy", second_image, "--plain-http")
    said = place.eaves("reconcile").stderr
    assert "nothing applied" in said
    assert "with another eaves.yaml or another version of Eaves than this workspace" in said
    assert revisions(place) == 3
    laptop.eaves("remove", NAME, "--on", "knative")
    assert "the function was removed" in place.eaves("reconcile").stderr
    assert place.cluster.list(KSERVICE) == []


def test_a_deploy_that_another_one_overtakes_ends_and_says_who_and_when(
    place: Place, laptop: Place, image: str, second_image: str
) -> None:
    place.eaves("deploy", image, "--plain-http")
    first = subprocess.Popen(
        place.command("deploy", second_image, "--plain-http", "--wait"),
        cwd=place.folder,
        env=place.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: last(place).sequence == 2, 120, pause_s=0.1, what="the number of the first deploy")
        laptop.configure(scale={"max": 2})
        laptop.eaves("deploy", image, "--plain-http")
        _, said = first.communicate(timeout=120)
    finally:
        first.kill()
    winner = last(place)
    assert (winner.sequence, winner.image) == (3, image)
    assert first.returncode == 75, said
    assert f"{winner.by} deployed {image} at " in said
    assert f"try: eaves deploy {second_image} --site {SITE}" in said
    assert image_of(place.cluster.get(KSERVICE, NAME)) == image
    place.eaves("reconcile")
    assert (image_of(place.cluster.get(KSERVICE, NAME)), last(place)) == (image, winner)
