"""The relay of an app in a cluster: its senders, its settings, and what eaves.yaml lacks for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.config import build, env_layer, iter_leaves
from eaves.link.settings import RelaySettings
from eaves.platform import TriggerSpec
from eaves.sources.settings import AgentSettings
from eaves.spool.image_choice import ChoiceLimits
from knative.resources.rendering import render_app
from knative.settings import ClusterApp
from tests.cluster.apps import RECEIVER, at_site, full_settings, relayed_app
from tests.unit.knative.render import find_faults

RELAY = {"apiVersion": "v1", "kind": "Service", "name": "flowers-relay", "namespace": "eaves"}
BROKER = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "eaves", "namespace": "eaves"}
Objects = dict[tuple[str, str], dict[str, Any]]


def render(app: ClusterApp, **settings: Any) -> Objects:
    """Objects by kind and name."""
    made = render_app(at_site(app, full_settings(**settings)))
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def container(objects: Objects, kind: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pod and its container."""
    pod = objects[kind, name]["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def reported(objects: Objects, kind: str, name: str) -> dict[str, str]:
    _, made = container(objects, kind, name)
    return {one["name"]: one["value"] for one in made["env"] if "value" in one}


def through_cloud(app: ClusterApp) -> ClusterApp:
    sources = tuple(replace(source, through="function") for source in app.sources)
    return replace(app, through="cloud", sources=sources)


def test_a_trigger_brings_what_does_not_come_from_agents_and_nothing_twice():
    trigger = render(relayed_app())["Trigger", "flowers-relay"]["spec"]
    assert trigger["subscriber"] == {"ref": RELAY, "uri": "/from-broker"}
    assert trigger["filters"] == [
        {"exact": {"source": "/eaves/barn/flowers"}},
        {"not": {"exact": {"causesource": "/eaves/barn/inbox"}}},
        {"not": {"exact": {"causesource": "/eaves/barn/camera"}}},
    ]
    assert "deadLetterSink" not in trigger["delivery"]


@pytest.mark.parametrize("name", ["flowers-relay", "flowers-relay-images"])
def test_the_broker_tries_for_two_days_to_bring_the_relay_something(name: str):
    delivery = render(relayed_app())["Trigger", name]["spec"]["delivery"]
    assert (delivery["backoffPolicy"], delivery["backoffDelay"]) == ("linear", "PT1S")
    assert sum(range(1, delivery["retry"] + 1)) > 2 * 86_400


def test_dead_letters_go_to_the_relay_unless_another_sink_is_named():
    other = TriggerSpec(name="alarm", url="http://alarm.barn/")
    app = replace(relayed_app(), triggers=(*relayed_app().triggers, other))
    made = {name: one["spec"]["delivery"] for (kind, name), one in render(app).items() if kind == "Trigger"}
    assert made["flowers"]["deadLetterSink"] == made["flowers-alarm"]["deadLetterSink"] == {"ref": RELAY}
    made = {
        name: one["spec"]["delivery"]
        for (kind, name), one in render(app, dead_letter_sink="http://dead.barn/").items()
        if kind == "Trigger"
    }
    assert {str(one["deadLetterSink"]) for one in made.values()} == {"{'uri': 'http://dead.barn/'}"}


@pytest.mark.parametrize("images", ["none", "low", "chosen", "all"])
def test_the_relay_and_the_agents_agree_on_the_images_that_go_along(images: str):
    app = relayed_app(images=images)
    objects = render(replace(app, sources=app.sources[:2]))
    agent = build(AgentSettings, env_layer(AgentSettings, reported(objects, "StatefulSet", "flowers-inbox")))
    assert agent.forward_images == ("none" if images == "chosen" else images)
    if images == "chosen":
        assert agent.choice_limits() == ChoiceLimits(audit_percent=1.0, images_per_hour=6, bytes_per_day=20 << 20)
    else:
        assert not agent.choose
    relay = build(RelaySettings, env_layer(RelaySettings, reported(objects, "StatefulSet", "flowers-relay")))
    assert relay.images == ("none" if images == "none" else "all")


def test_variables_of_the_relay_are_settings_that_its_process_has():
    app = relayed_app(newest_first=True, rate_bytes=1000, spool_size="1Gi")
    values = reported(render(app), "StatefulSet", "flowers-relay")
    assert values.keys() <= {leaf.env for leaf in iter_leaves(RelaySettings)}
    settings = build(RelaySettings, env_layer(RelaySettings, values))
    assert (settings.to, settings.site, settings.credentials) == (RECEIVER, "barn", Path("/credentials"))
    assert (settings.newest_first, settings.rate_bytes, settings.spool_max_bytes) == (True, 1000, 500_000_000)
    assert settings.alarm_rules() == ({"label": "fire"},)
    assert settings.host == "0.0.0.0"


def test_agents_ask_the_function_in_the_cloud_with_the_credentials_of_the_link():
    app = through_cloud(relayed_app())
    objects = render(app)
    for kind, name in (("StatefulSet", "flowers-inbox"), ("DaemonSet", "flowers-eaves-camera")):
        values = reported(objects, kind, name)
        settings = build(AgentSettings, env_layer(AgentSettings, values))
        assert settings.function == f"{RECEIVER}/v1/functions/flowers"
        assert settings.function_credentials == Path("/relay-credentials")
        assert settings.timeout_s == 120
        pod, made = container(objects, kind, name)
        assert {"name": "relay-credentials", "secret": {"secretName": "link", "defaultMode": 0o400}} in pod["volumes"]
        assert {"name": "relay-credentials", "mountPath": "/relay-credentials", "readOnly": True} in made[
            "volumeMounts"
        ]
    assert objects["SinkBinding", "flowers-inbox"]["spec"]["sink"]["ref"] == BROKER
    assert ("StatefulSet", "flowers-relay") in objects, "what waits in its queue is still to be forwarded"


def test_a_cold_start_in_the_cloud_has_its_time():
    app = through_cloud(relayed_app())
    function = replace(app.function, scale=replace(app.function.scale, start_timeout_s=200))
    triggers = (replace(app.triggers[0], delivery=replace(app.triggers[0].delivery, timeout_s=400)),)
    values = reported(
        render(replace(app, function=function, triggers=triggers, sources=app.sources[:1])),
        *("StatefulSet", "flowers-inbox"),
    )
    assert values["EAVES_TIMEOUT_S"] == "400"


def test_what_goes_through_the_broker_can_not_go_through_the_cloud():
    found = find_faults(replace(relayed_app(), through="cloud"))
    assert found.keys() == {"sources[2].through"}


def test_images_chosen_by_their_prediction_must_be_seen_with_it():
    assert "relay.images" in find_faults(relayed_app(images="low"))["sources[2].through"]


def test_an_address_of_this_machine_is_no_receiver_of_a_pod():
    assert "the pod itself" in find_faults(relayed_app(to="http://127.0.0.1:8443"))["relay.to"]


def test_a_relay_without_a_secret_is_refused_with_what_to_do():
    assert "create secret generic relay --from-file=token=FILE" in find_faults(relayed_app(secret=""))["relay.secret"]
    found = find_faults(relayed_app(secret="", credentials=Path("link")))
    assert "create secret generic relay --from-file=link" in found["relay.secret"]
