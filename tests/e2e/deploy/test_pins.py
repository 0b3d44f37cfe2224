"""Two revisions share the requests while the registry is away and nodes have deleted what nothing uses."""

import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from eaves.errors import StartError
from eaves.events import Event
from knative import rollout
from knative.client.kinds import POD, ObjectKind
from tests.e2e.conftest import PutImage
from tests.e2e.outages import is_pinned, lists_image, open_nodes
from tests.e2e.places import NAME, Place
from tests.e2e.pods import create_object, start_pod
from tests.e2e.stream import ask_version
from tests.inputs.artifacts import copy_artifact
from tests.waiting import wait_until

LIMIT_RANGE = ObjectKind("v1", "LimitRange")

pytestmark = pytest.mark.timeout(1800)
FIRST, SECOND = f"{NAME}-00001", f"{NAME}-00002"
NO_PINS = {"metadata": {"name": "no-pins"}, "spec": {"limits": [{"type": "Container", "min": {"memory": "16Mi"}}]}}
"""New pods of a pin, which ask for 12Mi, are refused; those that run stay."""
FUNCTION_PODS, UNUSED_PODS = f"serving.knative.dev/service={NAME}", "unused=yes"


@pytest.fixture
def images(put_image: PutImage, tiny_artifact: Path, tmp_path: Path) -> dict[str, str]:
    """Container images that no other test uses, by the version of their model: two to deploy, and one that isn't."""
    tag = secrets.token_hex(3)
    return {
        name: put_image(copy_artifact(tiny_artifact, tmp_path / name, version=f"{name}-{tag}"))
        for name in ("first", "second", "unused")
    }


def run_unused(place: Place, image: str) -> None:
    """A pod on each open node that does nothing in a container image; gone already when it was there before."""
    for node in open_nodes(place):
        start_pod(place.cluster, f"unused-{node}", image, ["python", "-c", ""], labels={"unused": "yes"}, nodeName=node)


def unused_are(place: Place, state: str) -> bool:
    """Whether the containers of all those pods are in a state, which is a part of what the nodes say of them."""
    pods = place.cluster.list(POD, selector=UNUSED_PODS)
    found = [str((one["status"].get("containerStatuses") or [{}])[0].get("state")) for one in pods]
    return len(found) == len(open_nodes(place)) and all(state in one for one in found)


def delete_unused(place: Place) -> None:
    for node in open_nodes(place):
        place.cluster.delete(POD, f"unused-{node}")
    wait_until(lambda: not place.cluster.list(POD, selector=UNUSED_PODS), 60, pause_s=0.5, what="the end of the pods")


def is_shared(place: Place) -> bool:
    """Continue the rollout; whether the second revision has its first share."""
    place.eaves("reconcile")
    return place.status().traffic == (f"{FIRST} 90 %", f"{SECOND} 10 %")


def test_with_the_registry_gone_both_revisions_of_a_rollout_start_from_zero(
    place: Place, make_event: Callable[..., Event], registry_down: Callable[[], AbstractContextManager[None]],
    collect_images: Callable[[Place, list[str]], list[str]], images: dict[str, str],
):  # fmt: skip
    place.configure(rollout={"steps": ["10"], "step_s": 86400, "deadline_s": 86400})
    place.deploy(images["first"])
    wait_until(lambda: is_pinned(place, images["first"]), 60, pause_s=0.5, what="the first pin")

    create_object(place.cluster, LIMIT_RANGE, NO_PINS)
    place.deploy(images["second"])
    (row,) = place.read("reconcile")
    lacking = f"pinned on 0 of {len(open_nodes(place))} nodes"
    assert f"{SECOND} waits until its container image is on every node; it is {lacking}" in row["what"]
    with pytest.raises(StartError, match=lacking):
        rollout.set_percent(place.cluster, NAME, 10, pin_wait_s=1)
    assert place.status().traffic == (f"{FIRST} 100 %",)

    place.cluster.delete(LIMIT_RANGE, "no-pins")
    wait_until(lambda: is_pinned(place, images["second"]), 180, pause_s=1, what="the second pin")
    wait_until(lambda: is_shared(place), 60, pause_s=1, what="the first share")

    run_unused(place, images["unused"])
    wait_until(lambda: unused_are(place, "terminated"), 120, pause_s=0.5, what="the pods that use the third")
    delete_unused(place)
    wait_until(lambda: not place.cluster.list(POD, selector=FUNCTION_PODS), 240, pause_s=0.5, what="zero replicas")
    wait_until(lambda: all(lists_image(place, one) for one in images.values()), 120, pause_s=1, what="all at the node")
    with registry_down():
        assert collect_images(place, list(images.values())) == [images["unused"]]
        run_unused(place, images["unused"])
        wait_until(lambda: unused_are(place, "ImagePull"), 60, pause_s=0.5, what="pulls that fail")
        answers = Counter(ask_version(place.platform, NAME, make_event(f"cut-off-{n}.png")) for n in range(150))
        assert {answer.partition("-")[0] for answer in answers} == {"first", "second"}, answers
        assert answers.most_common()[0][0].startswith("first")
        place.eaves("rollback", NAME)
        wait_until(lambda: not place.cluster.list(POD, selector=FUNCTION_PODS), 240, pause_s=0.5, what="zero replicas")
        assert collect_images(place, list(images.values())) == [images["unused"]]
        assert ask_version(place.platform, NAME, make_event("rolled-back.png")).startswith("first")


def test_a_hold_for_want_of_pins_ends_by_itself(place: Place, image: str, second_image: str):
    place.configure(rollout={"steps": ["10"], "step_s": 86400, "deadline_s": 20})
    place.deploy(image)
    wait_until(lambda: is_pinned(place, image), 120, pause_s=0.5, what="the first pin")
    create_object(place.cluster, LIMIT_RANGE, NO_PINS)
    place.deploy(second_image)

    def held() -> bool:
        (row,) = place.read("reconcile")
        return "held" in row["what"]

    wait_until(held, 120, pause_s=2, what="the hold")
    assert place.status().traffic == (f"{FIRST} 100 %",)
    place.cluster.delete(LIMIT_RANGE, "no-pins")
    wait_until(lambda: is_pinned(place, second_image), 300, pause_s=1, what="the second pin")
    wait_until(lambda: is_shared(place), 60, pause_s=1, what="the first share")
    place.eaves("remove", NAME)
