"""Triggers that publish to MQTT, in a cluster: what publishes for them, and what eaves.yaml must not say there."""

from dataclasses import replace
from typing import Any

from eaves.config import iter_leaves
from eaves.link.settings import PublisherSettings
from eaves.platform import MqttSection, TriggerSpec
from knative.resources.rendering import render_app
from knative.settings import ClusterApp
from tests.cluster.apps import at_site, full_settings, plain_app
from tests.unit.knative.render import find_faults

URL = "mqtt://broker.lan/gate/{label}"


def app(*, url: str = URL, name: str = "out", **mqtt: Any) -> ClusterApp:
    plain = plain_app()
    return replace(plain, triggers=(*plain.triggers, TriggerSpec(name=name, url=url, mqtt=MqttSection(**mqtt))))


def render(wanted: ClusterApp, **settings: Any) -> dict[str, dict[str, Any]]:
    """Objects of the publisher and its Trigger, by kind."""
    made = render_app(at_site(wanted, full_settings(**settings)))
    return {one["kind"]: one for one in made if one["metadata"]["name"].startswith("flowers-out")}


def container(wanted: ClusterApp) -> tuple[dict[str, Any], dict[str, Any]]:
    """The publisher's pod and its container."""
    pod = render(wanted)["StatefulSet"]["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def test_variables_of_the_publisher_are_settings_that_its_process_has():
    known = {leaf.env for leaf in iter_leaves(PublisherSettings)}
    _, made = container(app(retain=True, format="json", discovery_prefix="ha", secret="login", spool_size="3Gi"))
    reported = {one["name"]: one["value"] for one in made["env"]}
    assert reported.keys() <= known
    assert (reported["EAVES_URL"], reported["EAVES_MQTT_FORMAT"], reported["EAVES_MQTT_RETAIN"]) == (
        URL,
        "json",
        "true",
    )
    assert {"EAVES_MQTT_SECRET", "EAVES_MQTT_SPOOL_SIZE"}.isdisjoint(reported)


def test_a_password_in_the_address_is_refused_with_what_to_do():
    found = find_faults(app(url="mqtt://me:hunter2@broker.lan/gate"))
    assert found.keys() == {"triggers[0].url"}
    assert "kubectl -n eaves create secret generic out --from-literal=username=USER" in found["triggers[0].url"]
    assert "hunter2" not in str(found)


def test_names_that_a_stateful_set_cannot_have():
    assert "at most 39 characters" in find_faults(app(name="o" * 40))["triggers[0].name"]
    render(app(name="out" + "o" * 36))
