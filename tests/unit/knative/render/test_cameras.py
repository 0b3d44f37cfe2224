"""Cameras in a cluster: their container image, what they may see of a node, their memory, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from eaves.platform import SourceSpec
from knative.client.kinds import DAEMON_SET, STATEFUL_SET
from knative.resources.rendering import render_app
from knative.settings import ClusterApp
from tests.cluster.apps import at_site, full_settings, plain_app
from tests.cluster.manifests import validate
from tests.unit.knative.render import find_faults

STREAM = {"url": "rtsp://gate.barn.lan/stream1"}
DEVICE = {"url": "/dev/video0"}
AGENTS = {STATEFUL_SET.kind, DAEMON_SET.kind}


def app(options: dict[str, Any], **values: Any) -> ClusterApp:
    """An app with one camera."""
    return replace(plain_app(), sources=(SourceSpec(name="gate", kind="camera", options=options, **values),))


def render(wanted: ClusterApp) -> dict[str, Any]:
    """The object that runs the camera's source."""
    made = render_app(at_site(wanted, full_settings(pin=False)))
    (found,) = [one for one in made if one["kind"] in AGENTS]
    return found


def read_pod(made: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod's spec and its container."""
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def reported(container: dict[str, Any]) -> dict[str, Any]:
    """The settings that the agent gets for its source."""
    (values,) = json.loads(next(one["value"] for one in container["env"] if one["name"] == "EAVES_SOURCES"))
    return dict(values)


def test_the_memory_holds_the_agent_and_its_decoder():
    _, container = read_pod(render(app(STREAM)))
    assert container["resources"]["limits"] == {"memory": "989Mi"}
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "192Mi"}
    _, larger = read_pod(render(app({**STREAM, "decoder_max_bytes": 1_000 * 2**20})))
    assert larger["resources"]["limits"] == {"memory": "1512Mi"}


def test_a_device_is_opened_by_a_privileged_container_that_sees_the_nodes_devices():
    """A pod whose device is missing must start and report it, so the device alone is not mounted."""
    made = render(app(DEVICE))
    assert made["kind"] == DAEMON_SET.kind, "without `agent`"
    pod, container = read_pod(made)
    security = container["securityContext"]
    assert (security["privileged"], security["readOnlyRootFilesystem"]) == (True, True)
    assert "allowPrivilegeEscalation" not in security, "the API server refuses it beside privileged"
    assert {"name": "images", "hostPath": {"path": "/dev", "type": "Directory"}} in pod["volumes"]
    assert {"name": "images", "mountPath": "/dev", "readOnly": True} in container["volumeMounts"]
    assert container["terminationMessagePath"].startswith("/tmp/"), "else the kubelet makes a file in the node's /dev"
    assert reported(container)["url"] == "/dev/video0"
    validate(made)


def test_a_device_plugin_makes_privileges_unnecessary():
    made = render(app(DEVICE, pod={"resources": {"limits": {"squat.ai/video": "1"}}}))
    pod, container = read_pod(made)
    assert container["resources"]["limits"]["squat.ai/video"] == "1"
    assert "privileged" not in container["securityContext"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "spool"]
    assert reported(container)["url"] == "/dev/video0"
    validate(made)


def test_an_agent_on_a_node_knows_the_nodes_name_and_runs_where_cameras_are():
    pod, container = read_pod(render(app(DEVICE, pod={"nodeSelector": {"camera": "usb"}})))
    assert {"name": "EAVES_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}} in container["env"]
    assert pod["nodeSelector"] == {"camera": "usb"}


def test_a_missing_container_image_is_a_fault_that_names_its_target():
    found = find_faults(app(STREAM), agent_camera_image="", agent_image="")
    assert found.keys() == {"knative.agent_camera_image"}, "no part of the app needs the plain agent"
    assert "target agent-camera" in found["knative.agent_camera_image"]
    assert "sources such as gate" in found["knative.agent_camera_image"]
    render_app(at_site(app(STREAM), full_settings(agent_image="")))


@pytest.mark.parametrize(
    ("options", "values", "path", "message"),
    [
        (DEVICE, {"agent": "service"}, "url", "needs `agent: node`"),
        (STREAM, {"agent": "node"}, "url", "must be the absolute path of a device or a video file on the nodes"),
        ({"url": "/dev/../etc/shadow"}, {}, "url", "must be the absolute path"),
    ],
)
def test_what_can_not_work_is_refused(options: dict[str, Any], values: dict[str, Any], path: str, message: str):
    found = find_faults(app(options, **values))
    assert found.keys() == {f"sources[0].{path}"}
    assert message in found[f"sources[0].{path}"]


def test_a_password_in_the_address_of_a_camera_is_never_quoted():
    found = find_faults(app({"url": "rtsp://me:hunter2@gate.barn.lan/1"}, agent="node"))
    assert "hunter2" not in str(found)
    assert "***" in found["sources[0].url"]
