"""Two deployers and a clock deploy to one namespace: nothing newer is reverted, and one of two at once fails."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from knative.client.kinds import KSERVICE
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


def test_a_deploy_that_another_one_overtakes_ends_and_says_who_and_when(
    place: Place, laptop: Place, image: str, second_image: str
):
    place.deploy(image)
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
        laptop.deploy(image)
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
