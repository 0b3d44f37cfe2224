"""Sources of every kind in a cluster: what runs each, what it may see, and what eaves.yaml must not say there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import ConfigError
from eaves.platform import AppSpec, SourceSpec
from eaves.sources.agent.configuration import read_source
from knative.app.destinations import Destination, find_destinations
from knative.kinds import CONTAINER_SOURCE, DAEMON_SET, STATEFUL_SET
from knative.rendering import render_app
from tests.apps import full_settings, plain_app, plain_site
from tests.manifests import pod_templates, restricted_faults, validate

MQTT = {"url": "mqtts://broker.lan", "topics": ["gate/+"]}
AGENTS = {STATEFUL_SET.kind, DAEMON_SET.kind, CONTAINER_SOURCE.kind}


def app(kind: str = "mqtt", *, name: str = "gate", options: dict[str, Any] | None = None, **values: Any) -> AppSpec:
    """An app with one source."""
    source = SourceSpec(name=name, kind=kind, options=MQTT if options is None else options, **values)
    return replace(plain_app(), sources=(source,))


def render(wanted: AppSpec) -> dict[str, Any]:
    """The object that runs the source."""
    made = render_app(wanted, full_settings(), plain_site())
    (found,) = [one for one in made if one["kind"] in AGENTS and not one["metadata"]["name"].endswith("-pin")]
    return found


def expand(text: str, known: Mapping[str, str]) -> str:
    """The value of a variable as the kubelet gives it to a container.

    Source: k8s.io/kubernetes, third_party/forked/golang/expansion: `$$` is `$`, and `$(NAME)` the value of a variable
    that stands before this one.
    """

    def fill(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else known.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", fill, text)


def faults(wanted: AppSpec) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        render_app(wanted, full_settings(), plain_site())
    return {fault.path: fault.message for fault in error.value.faults}


def test_what_is_reached_over_the_network_keeps_its_queue_and_sees_no_folder() -> None:
    made = render(app())
    assert made["kind"] == STATEFUL_SET.kind
    pod = made["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
    (container,) = pod["containers"]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["tmp", "spool"]
    assert made["spec"]["podManagementPolicy"] == "Parallel", "a pod that can't start is replaced by a mended one"
    validate(made)
    assert [restricted_faults(template) for template in pod_templates(made)] == [[]]


def test_the_agent_is_told_what_its_source_reads_without_a_fault() -> None:
    (container,) = render(app(secret="login"))["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value", "") for one in container["env"]}
    (values,) = json.loads(told["EAVES_SOURCES"])
    assert values == {"name": "gate", "kind": "mqtt", **MQTT, "credentials": "/credentials"}
    source, found = read_source(values, "test", "")
    assert (found, source is not None) == ([], True)


@pytest.mark.parametrize("topic", ["$share/eaves/gate", "a/$$/b", "a/$(HOSTNAME)/b", "$$(NAMESPACE)", "$(NAMESPACE)"])
def test_the_kubelet_expands_nothing_in_what_an_agent_is_told(topic: str) -> None:
    made = render_app(app(options={**MQTT, "topics": [topic]}), full_settings(), replace(plain_site(), namespace=""))
    (pod,) = [one["spec"]["template"]["spec"] for one in made if one["kind"] == STATEFUL_SET.kind]
    (container,) = pod["containers"]
    told = {"HOSTNAME": "gate-0", "NAMESPACE": "another"}
    for one in container["env"]:
        told[one["name"]] = expand(one["value"], told) if "value" in one else "cams"
    (values,) = json.loads(told["EAVES_SOURCES"])
    assert values["topics"] == [topic]
    assert told["EAVES_FUNCTION_URL"].endswith(".cams.svc/")


def test_a_source_sees_its_own_secret_and_no_other() -> None:
    both = (
        SourceSpec(name="gate", kind="mqtt", options=MQTT, secret="one"),
        SourceSpec(name="yard", kind="mqtt", options=MQTT, secret="two"),
    )
    made = render_app(replace(plain_app(), sources=both), full_settings(), plain_site())
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


def test_a_folder_is_still_beside_its_claim() -> None:
    made = render(app("folder", options={}, claim="photos"))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert {"name": "images", "mountPath": "/images", "readOnly": True} in container["volumeMounts"]
    assert "podManagementPolicy" not in made["spec"], "it can't be changed of one that is there"


def told_path(wanted: AppSpec) -> str:
    """The path in the pod that the agent is told."""
    (container,) = render(wanted)["spec"]["template"]["spec"]["containers"]
    (values,) = json.loads(next(one["value"] for one in container["env"] if one["name"] == "EAVES_SOURCES"))
    return str(values["path"])


def test_a_recording_is_the_volume_or_an_archive_in_it() -> None:
    assert told_path(app("replay", options={"path": "photos"}, claim="recordings")) == "/images"
    assert told_path(app("replay", options={"path": "old/day.tar.gz"}, claim="recordings")) == "/images/day.tar.gz"
    assert told_path(app("folder", options={"path": "photos.tar"}, claim="photos")) == "/images"
    assert render(app("replay", options={}, claim="recordings", agent="reader"))["kind"] == CONTAINER_SOURCE.kind


def test_what_a_kind_cannot_run_as_is_refused() -> None:
    assert faults(app(agent="node")) == {"sources[0].agent": "must be service for the kind mqtt (got 'node')"}
    assert "did you mean mqtt" in faults(app("mqt"))["sources[0].kind"]


def test_a_password_in_an_address_is_refused_with_what_to_do() -> None:
    found = faults(app(options={**MQTT, "url": "mqtt://me:hunter2@broker.lan"}))
    assert found.keys() == {"sources[0].url"}
    assert "kubectl -n eaves create secret generic gate" in found["sources[0].url"]
    assert "secret: gate" in found["sources[0].url"]
    assert "hunter2" not in str(found)


def test_a_folder_of_this_machine_is_no_secret() -> None:
    found = faults(app(options={**MQTT, "credentials": "secrets/broker"}))
    assert "create secret generic gate --from-file=secrets/broker" in found["sources[0].secret"]
    render(app(options={**MQTT, "credentials": "secrets/broker"}, secret="login"))


def test_addresses_that_the_doctor_tries() -> None:
    assert list(find_destinations(app(secret="login"))) == [
        Destination(by="source gate", address="tls://broker.lan:8883", secret="login")
    ]
    assert [one.address for one in find_destinations(app("http", options={"url": "https://cam.lan/snap.jpg"}))] == [
        "tls://cam.lan:443"
    ]
    assert list(find_destinations(app(options={"url": "nonsense"}))) == []
    assert list(find_destinations(app("folder", options={}, claim="photos"))) == []
