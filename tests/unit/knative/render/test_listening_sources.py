"""Sources that take requests in a cluster: their Service, their port, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import ConfigError
from knative.client.kinds import SERVICE, STATEFUL_SET
from knative.resources.rendering import render_app
from knative.specs import ClusterApp, ClusterSource
from tests.cluster.apps import full_settings, plain_app, plain_site
from tests.cluster.manifests import restricted_faults, validate

BUCKET = {"bucket": "s3://photos", "endpoint": "http://store.barn.lan:9000"}


def app(options: dict[str, Any], secret: str = "keys") -> ClusterApp:
    """An app with one bucket."""
    source = ClusterSource(name="shop", kind="s3", options={**BUCKET, **options}, secret=secret)
    return replace(plain_app(), sources=(source,))


def render(wanted: ClusterApp) -> list[dict[str, Any]]:
    return list(render_app(wanted, full_settings(pin=False), plain_site()))


def faults(wanted: ClusterApp) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        render(wanted)
    return {fault.path: fault.message for fault in error.value.faults}


def test_a_service_leads_to_the_port_that_the_agent_listens_on() -> None:
    made = render(app({"webhook_port": 9100}))
    (service,) = [one for one in made if (one["kind"], one["apiVersion"]) == (SERVICE.kind, "v1")]
    (workload,) = [one for one in made if one["kind"] == STATEFUL_SET.kind]
    assert service["metadata"]["name"] == workload["metadata"]["name"] == "flowers-shop"
    template = workload["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert [(one["port"], ports[one["targetPort"]]) for one in service["spec"]["ports"]] == [(9100, 9100)]
    (values,) = json.loads(next(one["value"] for one in container["env"] if one["name"] == "EAVES_SOURCES"))
    assert (values["webhook_port"], values["webhook_host"]) == (9100, "0.0.0.0")
    assert restricted_faults(template) == []
    for one in (service, workload):
        validate(one)


def test_a_source_that_takes_no_requests_has_no_service() -> None:
    made = render(app({}))
    assert [one for one in made if one["kind"] == SERVICE.kind and one["apiVersion"] == "v1"] == []
    (workload,) = [one for one in made if one["kind"] == STATEFUL_SET.kind]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["ports"]] == ["metrics"]
    assert "webhook_host" not in json.dumps(container["env"])


@pytest.mark.parametrize(("port", "reason"), [(9090, "must differ from 9090"), (80, "must be at least 1024")])
def test_a_port_that_the_agent_cannot_open_is_refused(port: int, reason: str) -> None:
    assert reason in faults(app({"webhook_port": port}))["sources[0].webhook_port"]


def test_a_webhook_without_a_token_is_refused() -> None:
    assert "`token`" in faults(app({"webhook_port": 9100}, secret=""))["sources[0].secret"]
