"""An app applied to a cluster: once, again, changed, and by somebody who is killed on the way."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eaves.errors import DeniedError, InvalidError, UnreachableClusterError
from eaves.platform import DeliverySettings, RelaySpec
from knative.client.cluster import Cluster
from knative.deploy.apply import diff_app
from knative.deploy.ownership import CHANGED, CREATED, REMOVED, UNCHANGED, ApplyResult
from knative.settings import ClusterApp, KnativeSettings
from tests.cluster.apps import NAME, full_app, full_settings, plain_app, relayed_app
from tests.cluster.deploys import AGENTS, HOME, OWNER, Killed, deploy, kill_after, objects, outcomes, render
from tests.fakes.controllers.knative import SUBSCRIPTION, TRIGGER, Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal

pytestmark = pytest.mark.usefixtures("knative")


def test_what_eaves_yaml_no_longer_has_goes(cluster: Cluster, knative: Knative):
    deploy(cluster, full_app(), full_settings())
    app = full_app()
    fewer = replace(app, triggers=app.triggers[:1], sources=app.sources[:1])
    done = outcomes(deploy(cluster, fewer, full_settings()))
    assert done[REMOVED] == {
        "Trigger/flowers-alarm",
        "Trigger/flowers-gate",
        "NetworkPolicy/flowers-gate-mqtt",
        "Service/flowers-gate-mqtt",
        "StatefulSet/flowers-gate-mqtt",
        "EventType/flowers-camera-captured",
        "NetworkPolicy/flowers-cams-camera",
        "SinkBinding/flowers-cams-camera",
        "DaemonSet/flowers-cams-camera",
        "ServiceAccount/flowers-cams",
    }
    assert not [place for place in objects(knative.server) if place.startswith(AGENTS)]
    assert knative.server.get("Namespace", AGENTS), "other apps may be in it"
    assert outcomes(deploy(cluster, fewer, full_settings())).keys() == {UNCHANGED}


def test_a_relay_comes_before_the_agents_that_send_to_it_and_goes_after_they_send_elsewhere(cluster: Cluster):
    app = relayed_app()
    bare = replace(app, relay=RelaySpec())
    deploy(cluster, bare, full_settings())
    reported = order(deploy(cluster, app, full_settings()))
    assert reported.index("created StatefulSet/flowers-relay") < reported.index("changed SinkBinding/flowers-inbox")
    assert not [one for one in reported if one.startswith("removed")], "queues stay where they are"
    reported = order(deploy(cluster, bare, full_settings()))
    assert reported.index("changed SinkBinding/flowers-inbox") < reported.index("removed StatefulSet/flowers-relay")
    assert {one for one in reported if one.startswith("removed")} == {
        "removed Trigger/flowers-relay",
        "removed Trigger/flowers-relay-images",
        "removed SinkBinding/flowers-relay",
        "removed StatefulSet/flowers-relay",
        "removed Service/flowers-relay",
        "removed NetworkPolicy/flowers-relay",
    }
    assert outcomes(deploy(cluster, bare, full_settings())).keys() == {UNCHANGED}


def order(done: list[ApplyResult]) -> list[str]:
    """Outcomes as they came."""
    return [f"{one.outcome} {one.kind}/{one.name}" for one in done]


def test_a_command_killed_between_two_objects_continues_the_next_time(cluster: Cluster, knative: Knative):
    wanted = render(full_app(), full_settings())
    with pytest.raises(Killed):
        deploy(cluster, full_app(), full_settings(), check=kill_after(7))
    done = outcomes(deploy(cluster, full_app(), full_settings()))
    assert (len(done[UNCHANGED]), len(done[CREATED])) == (7, len(wanted) - 7)
    assert set(objects(knative.server)) == {
        f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}"
        for one in wanted
        if one["kind"] not in {"Namespace", "Broker"}
    }
    assert outcomes(deploy(cluster, full_app(), full_settings())).keys() == {UNCHANGED}


def test_whatever_sink_an_agent_has_its_variables_are_the_same_in_number_and_order():
    """Knative's controller appends the sink, and later changes it by its place in an older copy of the list."""
    local = relayed_app(images="all")
    sources = tuple(replace(source, through="function") for source in local.sources)
    apps = (local, replace(local, relay=RelaySpec()), replace(local, through="cloud", sources=sources))
    named = [
        [one["name"] for one in made["spec"]["template"]["spec"]["containers"][0]["env"]]
        for made in (one for app in apps for one in render(app, full_settings()))
        if (made["kind"], made["metadata"]["name"]) == ("StatefulSet", "flowers-inbox")
    ]
    assert len(named) == 3
    assert all(names == named[0] for names in named)


def diff(cluster: Cluster, app: ClusterApp, settings: KnativeSettings | None = None) -> list[str]:
    return list(diff_app(cluster, render(app, settings), OWNER))


def heads(lines: list[str]) -> list[str]:
    return [line.removeprefix("+++ ").removesuffix(" (rendered)") for line in lines if line.startswith("+++ ")]


def test_only_the_lines_that_change_and_what_goes(cluster: Cluster, knative: Knative):
    new = heads(diff(cluster, full_app(), full_settings()))
    assert "daemonset/flowers-cams-camera" in new, "in a namespace that a dry run doesn't make"
    deploy(cluster, full_app(), full_settings())
    before, app = objects(knative.server), full_app()
    fewer = replace(app, function=replace(app.function, concurrency=7), triggers=app.triggers[:1])
    lines = diff(cluster, fewer, full_settings())
    assert heads(lines) == [
        "service/flowers",
        *("trigger/flowers-alarm", "trigger/flowers-gate", "statefulset/flowers-gate-mqtt"),
        *("service/flowers-gate-mqtt", "networkpolicy/flowers-gate-mqtt"),
    ]
    assert "+      containerConcurrency: 7" in lines
    assert "-      containerConcurrency: 2" in lines
    assert "-  broker: eaves" in lines
    assert objects(knative.server) == before


def test_a_right_that_lacks_is_named_with_how_to_see_it(cluster: Cluster, apiserver: FakeCluster):
    apiserver.denied = {("patch", "triggers.eventing.knative.dev")}
    with pytest.raises(
        DeniedError, match=r"jane may not patch triggers\.eventing\.knative\.dev in namespace cams"
    ) as e:
        deploy(cluster, plain_app())
    assert e.value.hint is not None
    assert "kubectl --context edge auth can-i patch triggers.eventing.knative.dev -n cams" in e.value.hint
    apiserver.denied = set()
    done = outcomes(deploy(cluster, plain_app()))
    assert done[CREATED] == {"Trigger/flowers"}


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "validation failed: must not set the field(s): spec.template.spec.nodeSelector",
            "edge: the cluster refuses Service flowers: Knative accepts .*nodeSelector only if ",
            "kubectl -n knative-serving patch configmap config-features",
        ),
        (
            "the barn has a policy of its own",
            r"denied the request: the barn has .* \(Service flowers\)",
            "eaves doctor",
        ),
    ],
)
def test_a_webhooks_denial_is_said_with_its_fix(
    said: str, message: str, hint: str, cluster: Cluster, apiserver: FakeCluster
):
    apiserver.admit = lambda manifest: said if manifest["apiVersion"] == "serving.knative.dev/v1" else ""
    with pytest.raises(InvalidError, match=message) as raised:
        deploy(cluster, plain_app())
    assert hint in str(raised.value.hint)


def test_what_cant_be_changed_must_be_made_anew(cluster: Cluster, apiserver: FakeCluster):
    said = 'DaemonSet.apps "flowers-pin" is invalid: spec.selector: Invalid value: {}: field is immutable'
    apiserver.fail(refusal(422, "Invalid", said), method="PATCH", path="/daemonsets/")
    with pytest.raises(InvalidError) as raised:
        deploy(cluster, plain_app())
    command = "kubectl --context edge -n cams delete daemonsets.apps flowers-pin-bbbbbbbb; then deploy again"
    assert command in str(raised.value.hint)


def test_a_link_that_goes_down_on_the_way_is_said_and_the_next_call_continues(cluster: Cluster, apiserver: FakeCluster):
    def fault(request: Request) -> Reply | None:
        """The server answers five writes of the app's objects, and then 503."""
        writes = [one for one in apiserver.asked("PATCH") if "/configmaps/" not in one.path]
        return refusal(503, "ServiceUnavailable", "etcd") if len(writes) > 5 else None

    apiserver.fault = fault
    with pytest.raises(UnreachableClusterError):
        deploy(cluster, plain_app())
    apiserver.fault = lambda request: None
    done = outcomes(deploy(cluster, plain_app()))
    assert (len(done[UNCHANGED]), len(done[CREATED])) == (5, len(render(plain_app())) - 5)


SINK = "http://dead.barn.svc.cluster.local/"


def app_with(**delivery: Any) -> ClusterApp:
    """An app whose trigger has this delivery."""
    app = plain_app()
    return replace(app, triggers=(replace(app.triggers[0], delivery=DeliverySettings(**delivery)),))


def subscription(server: FakeCluster) -> dict[str, Any]:
    (found,) = [
        one
        for one in server.all(SUBSCRIPTION, namespace=HOME)
        if one["metadata"]["labels"]["eventing.knative.dev/trigger"] == NAME
    ]
    return found


def delivery(server: FakeCluster) -> Mapping[str, Any]:
    found: Mapping[str, Any] = subscription(server)["spec"]["delivery"]
    return found


def test_a_dead_letter_sink_that_is_taken_away_goes_from_the_subscription(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, app_with(dead_letter_sink=SINK))
    before = subscription(apiserver)
    assert before["spec"]["delivery"]["deadLetterSink"] == {"uri": SINK}
    done = outcomes(deploy(cluster, app_with()))
    assert done[CHANGED] == {f"Trigger/{NAME}"}
    assert "deadLetterSink" not in delivery(apiserver)
    uid = subscription(apiserver)["metadata"]["uid"]
    assert uid == before["metadata"]["uid"], "events that come while there is no Subscription are lost"
    assert outcomes(deploy(cluster, app_with())).keys() == {UNCHANGED}


def test_a_number_of_retries_that_becomes_zero_reaches_the_subscription(cluster: Cluster, apiserver: FakeCluster):
    deploy(cluster, app_with(retry=3))
    deploy(cluster, app_with(retry=0))
    assert delivery(apiserver)["retry"] == 0
    deploy(cluster, app_with(retry=3))
    assert delivery(apiserver)["retry"] == 3


def test_a_relay_leaves_the_subscription_before_its_service_goes(cluster: Cluster, apiserver: FakeCluster):
    app = relayed_app()
    deploy(cluster, app, full_settings())
    assert delivery(apiserver)["deadLetterSink"]["ref"]["name"] == f"{NAME}-relay"
    before = len(apiserver.log)
    deploy(cluster, replace(app, relay=RelaySpec()), full_settings())
    assert "deadLetterSink" not in delivery(apiserver)
    sent = [f"{one.method} {one.path}" for one in apiserver.log[before:]]
    (patched,) = [index for index, one in enumerate(sent) if one.startswith("PATCH") and "/subscriptions/" in one]
    assert patched < sent.index(f"DELETE /api/v1/namespaces/{HOME}/services/{NAME}-relay")


def test_the_subscription_is_changed_once_knative_has_seen_the_trigger(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
):
    deploy(cluster, app_with(dead_letter_sink=SINK))
    knative.held.add("Trigger")
    looks: list[int] = []
    before = len(apiserver.asked("PATCH", "/triggers/"))

    def is_changed() -> bool:
        return len(apiserver.asked("PATCH", "/triggers/")) > before

    def observe(request: Request) -> Reply | None:
        if request.method == "GET" and request.path.endswith(f"/triggers/{NAME}") and is_changed():
            assert not apiserver.asked("PATCH", "/subscriptions/")
            looks.append(1)
            if len(looks) == 2:
                generation = apiserver.get(TRIGGER, NAME, namespace=HOME)["metadata"]["generation"]
                apiserver.status(TRIGGER, NAME, {"observedGeneration": generation}, namespace=HOME)
        return None

    apiserver.fault = observe
    deploy(cluster, app_with())
    assert len(looks) == 2
    assert "deadLetterSink" not in delivery(apiserver)


def test_who_may_not_list_subscriptions_deploys_all_the_same(
    cluster: Cluster, apiserver: FakeCluster, caplog: pytest.LogCaptureFixture
):
    apiserver.denied = {("list", "subscriptions.messaging.knative.dev")}
    deploy(cluster, app_with())
    assert "may not list subscriptions.messaging.knative.dev" in caplog.text
