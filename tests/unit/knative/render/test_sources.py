"""Sources of every kind in a cluster: what runs each, what it may see, and what eaves.yaml must not say there."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from eaves.config import build, env_layer
from eaves.platform import SourceSpec
from eaves.sources.agent.configuration import read_source
from eaves.sources.settings import AgentSettings
from knative.client.kinds import DAEMON_SET, STATEFUL_SET
from knative.resources.rendering import render_app
from knative.settings import ClusterApp
from tests.cluster.apps import at_site, full_settings, plain_app, plain_site
from tests.unit.knative.render import find_faults

MQTT = {"url": "mqtts://broker.lan", "topics": ["gate/+"]}
AGENTS = {STATEFUL_SET.kind, DAEMON_SET.kind}


def app(kind: str = "mqtt", *, name: str = "gate", options: dict[str, Any] | None = None, **values: Any) -> ClusterApp:
    """An app with one source."""
    source = SourceSpec(name=name, kind=kind, options=MQTT if options is None else options, **values)
    return replace(plain_app(), sources=(source,))


def render(wanted: ClusterApp) -> dict[str, Any]:
    """The object that runs the source."""
    made = render_app(at_site(wanted, full_settings()))
    (found,) = [one for one in made if one["kind"] in AGENTS and "-pin-" not in one["metadata"]["name"]]
    return found


def test_the_agent_gets_what_its_source_reads_without_a_fault():
    (container,) = render(app(secret="login"))["spec"]["template"]["spec"]["containers"]
    reported = {one["name"]: one.get("value", "") for one in container["env"]}
    (values,) = json.loads(reported["EAVES_SOURCES"])
    assert values == {"name": "gate", "kind": "mqtt", **MQTT, "credentials": "/credentials"}
    source, found = read_source(values, "test", "")
    assert (found, source is not None) == ([], True)


def expand(text: str) -> str:
    """The value of a variable as the kubelet sets it. Source: Kubernetes, third_party/forked/golang/expansion."""
    return re.sub(r"\$(\$|\((\w+)\))", lambda found: "$" if found[1] == "$" else f"value of {found[2]}", text)


def test_dollars_reach_the_agent_as_they_were_written():
    topics = ["$share/eaves/a", "b/$$/c", "d/$(HOSTNAME)", "e/$$(HOSTNAME)/$"]
    (container,) = render(app(options={**MQTT, "topics": topics}))["spec"]["template"]["spec"]["containers"]
    reported = {one["name"]: expand(one["value"]) for one in container["env"] if "value" in one}
    (values,) = json.loads(reported["EAVES_SOURCES"])
    assert values["topics"] == topics


def test_the_namespace_that_a_site_does_not_name_is_the_pods_own():
    made = render_app(at_site(app(), full_settings(), replace(plain_site(), namespace="")))
    (found,) = [one for one in made if one["kind"] == STATEFUL_SET.kind]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    reported = {one["name"]: expand(one["value"]) for one in container["env"] if "value" in one}
    assert reported["EAVES_FUNCTION_URL"] == "http://flowers.value of NAMESPACE.svc/"


@pytest.mark.parametrize(
    ("size", "room", "dead"), [("2Gi", 1_000_000_000, 200_000_000), ("100Mi", 48_828_125, 9_765_625)]
)
def test_the_queue_leaves_room_on_its_volume(size: str, room: int, dead: int):
    (container,) = render(app(spool_size=size))["spec"]["template"]["spec"]["containers"]
    reported = {one["name"]: one["value"] for one in container["env"]}
    settings = build(AgentSettings, env_layer(AgentSettings, reported))
    assert (settings.spool_max_bytes, settings.spool_dead_max_bytes) == (room, dead)


@pytest.mark.parametrize(("max_bytes", "limit"), [(20_000_000, "512Mi"), (50_000_000, "1280Mi")])
def test_the_memory_suffices_for_the_largest_image(max_bytes: int, limit: str):
    (container,) = render(app(options={**MQTT, "max_bytes": max_bytes}))["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": limit}


def test_a_source_sees_its_own_secret_and_no_other():
    both = (
        SourceSpec(name="gate", kind="mqtt", options=MQTT, secret="one"),
        SourceSpec(name="yard", kind="mqtt", options=MQTT, secret="two"),
    )
    made = render_app(at_site(replace(plain_app(), sources=both), full_settings(), plain_site()))
    seen = {
        one["metadata"]["name"]: [
            volume["secret"] for volume in one["spec"]["template"]["spec"]["volumes"] if "secret" in volume
        ]
        for one in made
        if one["kind"] == STATEFUL_SET.kind
    }
    assert seen == {
        "flowers-gate": [{"secretName": "one", "defaultMode": 0o400}],
        "flowers-yard": [{"secretName": "two", "defaultMode": 0o400}],
    }


def reported_path(wanted: ClusterApp) -> str:
    """Return the path in the pod that the agent's settings name."""
    (container,) = render(wanted)["spec"]["template"]["spec"]["containers"]
    (values,) = json.loads(next(one["value"] for one in container["env"] if one["name"] == "EAVES_SOURCES"))
    return str(values["path"])


def test_a_recording_is_the_volume_or_an_archive_in_it():
    assert reported_path(app("replay", options={"path": "photos"}, claim="recordings")) == "/images"
    assert reported_path(app("replay", options={"path": "old/day.tar.gz"}, claim="recordings")) == "/images/day.tar.gz"
    assert reported_path(app("folder", options={"path": "photos.tar"}, claim="photos")) == "/images"


def test_what_a_kind_cannot_run_as_is_refused():
    assert find_faults(app(agent="node")) == {"sources[0].agent": "must be service for the kind mqtt (got 'node')"}


def test_a_password_in_an_address_is_refused_with_what_to_do():
    found = find_faults(app(options={**MQTT, "url": "mqtt://me:hunter2@broker.lan"}))
    assert found.keys() == {"sources[0].url"}
    assert "kubectl -n eaves create secret generic gate" in found["sources[0].url"]
    assert "secret: gate" in found["sources[0].url"]
    assert "hunter2" not in str(found)


def test_a_password_in_a_path_is_refused_and_its_placeholder_is_not():
    url = "http://cam/user=admin_password={}_channel=1.jpg"
    found = find_faults(app("http", options={"url": url.format("hunter2")}))
    assert "{password}" in found["sources[0].url"]
    assert "hunter2" not in str(found)
    render(app("http", options={"url": url.format("{password}")}, secret="login"))
