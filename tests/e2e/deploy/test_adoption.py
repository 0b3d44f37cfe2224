"""A Service that kn made: left alone until somebody says that it is to be taken over."""

import os
import subprocess
from collections.abc import Callable

import pytest

from eaves.events import Event
from knative.client.kinds import BROKER, KSERVICE, SERVICE_ACCOUNT, TRIGGER
from knative.resources.pod import build_security
from tests.container_images.packaging import need
from tests.e2e.harness import is_ready
from tests.e2e.places import NAME, Place
from tests.e2e.pods import create_object
from tests.e2e.stream import Stream
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
MakeEvent = Callable[..., Event]


def create_by_api(place: Place, image: str) -> None:
    """Create a Service as kn does: a POST by the manager `kn`, not an apply."""
    container = {"image": image, "env": [{"name": "WHO", "value": "kn"}], "securityContext": build_security()}
    service = {"metadata": {"name": NAME}, "spec": {"template": {"spec": {"containers": [container]}}}}
    create_object(place.cluster, KSERVICE, service, manager="kn")


def create_by_kn(place: Place, image: str) -> None:
    """kn itself."""
    words = [need("kn"), "service", "create", NAME, "--image", image, "--env", "WHO=kn", "--no-wait"]
    words += ["--namespace", place.cluster.namespace, "--security-context", "strict"]
    words += ["--kubeconfig", str(place.kubeconfig)] if place.kubeconfig else []
    subprocess.run(words, env=os.environ, check=True, capture_output=True)


@pytest.mark.parametrize("create", [create_by_api, create_by_kn])
def test_what_kn_made_is_refused_before_anything_is_applied_and_taken_over_when_that_is_said(
    create: Callable[[Place, str], None], place: Place, make_event: MakeEvent, image: str, second_image: str
):
    create(place, image)
    wait_until(lambda: is_ready(place.cluster.get(KSERVICE, NAME) or {}), 120, pause_s=0.5, what="kn's Service")
    with Stream(place.platform, NAME, make_event) as stream:
        refused = place.deploy(second_image, codes=range(1, 128))
        assert "does not belong to this app" in refused.stderr
        assert "--adopt" in refused.stderr
        for kind in (BROKER, TRIGGER, SERVICE_ACCOUNT):
            assert [one["metadata"]["name"] for one in place.cluster.list(kind)] in ([], ["default"]), kind
        assert "-  " in place.eaves("diff", second_image, "--plain-http", codes=(1,)).stdout
        taken = place.deploy(second_image, "--adopt", "--yes")
        assert "WHO" in taken.stderr
        assert "1 adopted" in taken.stderr
        stream.more()
        assert stream.count()["2"] == 0  # requests are served without a pause
        place.eaves("promote", NAME)
        wait_until(lambda: stream.count()["2"], 30, what="an answer of our revision")
    assert stream.failed == []
    (container,) = (place.cluster.get(KSERVICE, NAME) or {})["spec"]["template"]["spec"]["containers"]
    assert "WHO" not in {one["name"] for one in container["env"]}
    assert "unchanged" in place.deploy(second_image).stderr
