"""Two people and a clock that deploy to one namespace: nothing newer is taken back, and of two at once one is told."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from knative.deploy.inventory import Deployment, read_inventory
from knative.kinds import KSERVICE, REVISION
from knative.update import read_image
from tests.e2e.places import NAME, Place

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def laptop(place: Place, tmp_path: Path) -> Place:
    """Another workspace of the same project, for the same namespace."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    made = replace(place, folder=folder)
    made.configure()
    return made


def last(place: Place) -> Deployment:
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
    assert (read_image(place.cluster, NAME), last(place).image) == (second_image, second_image)
    assert (last(place).sequence, revisions(place)) == (2, 2)
    assert place.status().traffic == (f"{NAME}-00002 100 %",)
    place.eaves("rollback", NAME)
    laptop.eaves("reconcile")
    assert place.status().traffic == (f"{NAME}-00001 100 %",)
    laptop.configure(scale={"max": 2})
    laptop.eaves("deploy", second_image, "--plain-http")
    said = place.eaves("reconcile").stderr
    assert "nothing applied" in said
    assert "with another eaves.yaml or version of Eaves than here" in said
    assert revisions(place) == 3
    laptop.eaves("remove", NAME, "--on", "knative")
    assert "the function was removed" in place.eaves("reconcile").stderr
    assert place.cluster.list(KSERVICE) == []


def test_of_two_who_deploy_at_once_the_later_one_wins_and_the_other_is_told(
    place: Place, laptop: Place, image: str, second_image: str
) -> None:
    place.eaves("deploy", image, "--plain-http")
    started = [start(place, image), start(laptop, second_image)]
    said = {one.args[4]: (*one.communicate(timeout=300), one.returncode) for one in started}  # type: ignore[index]
    winner = last(place)
    codes = {container: code for container, (_, _, code) in said.items()}
    assert codes == {winner.image: 0, (image if winner.image == second_image else second_image): 75}, said
    (told,) = [text for _, text, code in said.values() if code == 75]
    assert f"{winner.by} deployed {winner.image} at " in told
    assert "try: eaves deploy" in told
    assert read_image(place.cluster, NAME) == winner.image
    place.eaves("reconcile")
    assert read_image(place.cluster, NAME) == winner.image


def start(place: Place, image: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        place.command("deploy", image, "--plain-http"),
        cwd=place.folder,
        env=place.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
