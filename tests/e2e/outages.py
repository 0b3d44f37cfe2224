"""No registry for a while, container images that are gone from the nodes, and what is pinned there."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

import pytest

from eaves.errors import OciError
from eaves.oci.copy import open_location
from eaves.oci.registry.transport import Access
from knative.client.kinds import DAEMON_SET, NODE, POD
from knative.resources.function import pin_name
from knative.status.parts import READY, judge_parts
from tests.e2e.places import NAME, Place
from tests.waiting import wait_until

MOST_LISTED = 50
"""Container images of a node that it lists, the largest. Source: kubelet, nodeStatusMaxImages."""


@pytest.fixture
def registry_down(pytestconfig: pytest.Config, place: Place, image: str) -> Callable[[], AbstractContextManager[None]]:
    """For the time of a `with`, no registry, and kubelets that have forgotten what they knew."""
    names = ("stop-registry", "start-registry", "restart-kubelet")
    stop, start, restart = (str(pytestconfig.getoption(f"--{name}") or "") for name in names)
    if not (stop and start and restart):
        pytest.skip("needs --stop-registry, --start-registry and --restart-kubelet, commands that do so")

    @contextmanager
    def down() -> Iterator[None]:
        _run(stop)
        try:
            with pytest.raises(OciError):
                open_location(image, Access(plain_http=True)).resolve()
            _run(restart)
            wait_until(lambda: nodes_ready(place), 120, pause_s=0.5, what="the nodes")
            yield
        finally:
            _run(start)

    return down


@pytest.fixture
def collect_images(pytestconfig: pytest.Config) -> Callable[[Place, list[str]], list[str]]:
    """Delete those of some container images that no container of any node uses, as a kubelet does when its disk fills.

    It returns what was deleted. Source: Kubernetes, pkg/kubelet/images/image_gc_manager.go (`detectImages`: in use is
    what a container of any pod on the node has, running or not).
    """
    command = str(pytestconfig.getoption("--delete-image") or "")
    if not command:
        pytest.skip("needs --delete-image, a command that deletes a container image from the nodes by its digest")

    def collect(place: Place, images: list[str]) -> list[str]:
        used = {
            str(status.get("imageID", "")).rpartition("@")[2]
            for pod in place.cluster.list(POD, namespace="")
            for status in pod["status"].get("containerStatuses", ())
        }
        unused = [image for image in images if image.rpartition("@")[2] not in used]
        for image in unused:
            _run(f"{command} {image.rpartition('@')[2]}")
        return unused

    return collect


def _run(command: str) -> None:
    subprocess.run(command, shell=True, check=True, timeout=300, capture_output=True)


def nodes_ready(place: Place) -> bool:
    """Whether every node's kubelet answers."""
    return all(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
        for node in place.cluster.list(NODE)
    )


def open_nodes(place: Place) -> dict[str, dict[str, Any]]:
    """Nodes that take pods without tolerations, by name."""
    return {one["metadata"]["name"]: one for one in place.cluster.list(NODE) if not one["spec"].get("taints")}


def lists_image(place: Place, image: str) -> bool:
    """Whether every open node has a container image; those it doesn't list for want of room count as there."""
    digest = image.rpartition("@")[2]
    lists = [node["status"].get("images") or [] for node in open_nodes(place).values()]
    return all(
        len(images) >= MOST_LISTED or any(name.endswith(digest) for one in images for name in one["names"])
        for images in lists
    )


def is_pinned(place: Place, image: str, selector: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Whether a container image's pin runs on every node, or on those that a selector chooses."""
    pin = place.cluster.get(DAEMON_SET, pin_name(NAME, image, selector))
    if pin is None or not pin["status"]["desiredNumberScheduled"]:
        return False
    (part,) = judge_parts(place.cluster, [pin], now=place.cluster.clock())
    return part.state == READY
