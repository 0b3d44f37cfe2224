"""A new revision beside the old one, while requests don't stop: by hand, by itself, and when it is no good."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.artifact import open_artifact, write_artifact
from eaves.artifact.store import HANDLER, file_entries
from eaves.events import Event
from tests.e2e.conftest import PutImage
from tests.e2e.places import NAME, Place
from tests.e2e.stream import Stream, ask_version
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
MakeEvent = Callable[..., Event]
TIRED = """
calls = 0


def postprocess(outputs):
    global calls
    calls += 1
    if calls > 12:
        raise RuntimeError("tired")
    return {"label": "any"}
"""
"""A handler that does well on every golden image, and then no more."""
STEPS = {"steps": ["20", "60"], "step_s": 2, "min_requests": 5, "max_error_increase": 0.2, "max_latency_ratio": 50}


def versions(place: Place, make_event: MakeEvent, count: int) -> Counter[str]:
    """Who answers so many requests."""
    return Counter(ask_version(place.platform, NAME, make_event(f"asked-{number}.png")) for number in range(count))


def wait_for(place: Place, make_event: MakeEvent, version: str) -> None:
    """Until the gateway has taken up that one version answers everything."""
    wait_until(
        lambda: versions(place, make_event, 10) == {version: 10}, 30, pause_s=0.2, what=f"version {version} alone"
    )


def test_a_new_revision_gets_the_share_that_is_said_then_everything_and_then_nothing_again(
    place: Place, make_event: MakeEvent, image: str, second_image: str, version: str
):
    place.deploy(image)
    with Stream(place.platform, NAME, make_event) as stream:
        place.deploy(second_image)
        stream.more()
        assert set(stream.answers) == {version}
        place.eaves("rollout", NAME, "--percent", "30")
        wait_until(lambda: len(place.status().traffic) == 2, 30, pause_s=0.2, what="two revisions with shares")
        wait_until(lambda: stream.count()["2"], 30, what="an answer of the new revision")
        share = versions(place, make_event, 200)
        assert 30 <= share["2"] <= 90, share  # 60 are expected, with a deviation of 6.5
        assert share[version] == 200 - share["2"]
        place.eaves("promote", NAME)
        wait_for(place, make_event, "2")
        place.eaves("rollback", NAME)
        wait_for(place, make_event, version)
        place.eaves("rollback", NAME)
        wait_for(place, make_event, "2")
    assert stream.failed == []


def test_a_revision_that_does_well_is_rolled_out_to_the_end_by_reconcile(
    place: Place, make_event: MakeEvent, image: str, second_image: str
):
    place.configure(rollout=STEPS)
    place.deploy(image)
    said: list[str] = []

    def ended() -> bool:
        (row,) = place.read("reconcile")
        said.append(row["what"])
        return "-00002 100 %" in row["what"]

    with Stream(place.platform, NAME, make_event) as stream:
        place.deploy(second_image)
        wait_until(ended, 120, pause_s=0.5, what="the end of the rollout")
        wait_for(place, make_event, "2")
    assert stream.failed == []
    shares = [share for share in ("20 %", "60 %", "100 %") if any(f"-00002 {share}" in line for line in said)]
    assert shares == ["20 %", "60 %", "100 %"], said
    assert any("requests failed (before: 0 of" in line for line in said), said
    assert place.status().traffic == (f"{NAME}-00002 100 %",)


def test_a_revision_whose_requests_fail_is_rolled_back_and_the_deploy_that_waits_says_why(
    place: Place, make_event: MakeEvent, image: str, tiny_artifact: Path, tmp_path: Path, put_image: PutImage
):
    place.configure(rollout={**STEPS, "min_requests": 20})
    place.deploy(image)
    staging = tmp_path / ".tired"
    shutil.copytree(tiny_artifact, staging)
    (staging / HANDLER).write_text(TIRED)
    manifest = open_artifact(tiny_artifact).manifest
    changed = write_artifact(
        staging, tmp_path / "tired", replace(manifest, version="tired", files=file_entries(staging))
    )
    tired = put_image(changed.path)
    with Stream(place.platform, NAME, make_event) as stream:
        done = place.deploy(tired, "--wait", codes=(1, 69, 70, 75))
        assert "the new revision fails more often" in done.stderr
        wait_for(place, make_event, manifest.version)
        begun = len(stream.answers)
        stream.more(20)
    assert stream.count()["tired"] > 0
    assert set(stream.answers[begun:]) == {manifest.version}
    assert place.status().traffic == (f"{NAME}-00001 100 %",)
