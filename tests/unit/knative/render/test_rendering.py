"""What an app becomes in a cluster. With EAVES_WRITE_GOLDEN=1 in its environment this writes the golden files."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config import iter_leaves
from eaves.errors import ConfigError
from eaves.events import IMAGE_CAPTURED, IMAGE_INSPECTED, MODEL_SHIFTED
from eaves.platform import DeliverySettings, ScaleSettings, SourceSpec, TriggerSpec
from functions.settings import FunctionSettings
from knative.resources.eventing import build_event_types
from knative.resources.rendering import render_app, to_yaml, write_files
from knative.settings import ClusterApp, KnativeSettings, SiteSettings
from tests.cluster.apps import at_site, full_app, full_settings, plain_app, plain_site, relayed_app, watching_app
from tests.cluster.manifests import pod_templates, restricted_faults, validate

GOLDEN = Path(__file__).parent / "rendered"
CASES: dict[str, ClusterApp] = {
    "plain": at_site(plain_app(), site=SiteSettings(name="barn")),
    "full": full_app(),
    "relayed": at_site(relayed_app(), full_settings(create_broker=False, pin=False)),
    "watching": at_site(watching_app(), full_settings(create_broker=False, pin=False)),
    "selected": at_site(plain_app(), KnativeSettings(public=True, pin=False), plain_site(selector={"edge": "yes"})),
}
Manifests = tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Manifests]:
    """The objects of each case."""
    return {name: render_app(app) for name, app in CASES.items()}


def all_of(rendered: dict[str, Manifests]) -> Iterator[dict[str, Any]]:
    for manifests in rendered.values():
        yield from manifests


def templates_of(rendered: dict[str, Manifests]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of each object and every template of pods in it."""
    for one in all_of(rendered):
        for template in pod_templates(one):
            yield f"{one['kind']}/{one['metadata']['name']}", template


def only(manifests: Manifests, kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    return found


def test_what_is_rendered_is_the_golden_file(rendered: dict[str, Manifests]):
    for name, manifests in rendered.items():
        text = "---\n".join(to_yaml(manifest) for manifest in manifests)
        golden = GOLDEN / f"{name}.yaml"
        if os.environ.get("EAVES_WRITE_GOLDEN"):
            golden.write_text(text)
        assert text == golden.read_text(), name


def test_every_object_is_valid_by_the_schemas(rendered: dict[str, Manifests], shared: Path):
    for manifest in all_of(rendered):
        validate(manifest, shared)


def test_yaml_is_read_as_what_was_rendered(rendered: dict[str, Manifests]):
    for manifest in all_of(rendered):
        assert yaml.safe_load(to_yaml(manifest)) == manifest


def test_every_pod_but_those_that_need_a_folder_of_their_node_passes_restricted_pod_security(
    rendered: dict[str, Manifests],
):
    for name, template in templates_of(rendered):
        faults = restricted_faults(template)
        assert bool(faults) == any("hostPath" in one for one in template["spec"].get("volumes", ())), (name, faults)


def test_what_knatives_webhook_would_add_to_a_probe_is_said(rendered: dict[str, Manifests]):
    """The webhook adds nothing to a named revision that `kubectl apply` sends again, and then sees a change."""
    for manifests in rendered.values():
        service = only(manifests, "Service", "flowers")
        (container,) = service["spec"]["template"]["spec"]["containers"]
        assert container["readinessProbe"]["successThreshold"] == 1


def test_a_dead_letter_sink_by_name_is_that_triggers_receiver_or_a_function():
    app = full_app()
    sinks = ("alarm", "gate", "elsewhere")
    triggers = [
        TriggerSpec(name=f"to-{sink}", url="http://x.test/", delivery=DeliverySettings(dead_letter_sink=sink))
        for sink in sinks
    ]
    made = render_app(replace(app, triggers=(*app.triggers, *triggers)))
    found = {sink: only(made, "Trigger", f"flowers-to-{sink}")["spec"]["delivery"]["deadLetterSink"] for sink in sinks}
    assert found["alarm"] == {"uri": "http://alarm.barn.svc.cluster.local/"}
    kinds = {sink: (found[sink]["ref"]["apiVersion"], found[sink]["ref"]["name"]) for sink in sinks[1:]}
    assert kinds == {
        "gate": ("v1", "flowers-gate-mqtt"),
        "elsewhere": ("serving.knative.dev/v1", "elsewhere"),
    }


def test_an_app_that_inspects_images_announces_a_shift_of_their_scores_too():
    app = replace(plain_app(task="anomaly"), sources=(SourceSpec(name="gate"),))
    announced = [one["metadata"]["name"] for one in build_event_types(app)]
    assert announced == ["flowers-gate-captured", "flowers-inspected", "flowers-shifted"]
    types = [attribute["value"] for one in build_event_types(app) for attribute in one["spec"]["attributes"][:1]]
    assert types == [IMAGE_CAPTURED, IMAGE_INSPECTED, MODEL_SHIFTED]


def test_no_pod_gets_a_token(rendered: dict[str, Manifests]):
    for name, template in templates_of(rendered):
        assert template["spec"]["automountServiceAccountToken"] is False, name
    for manifest in all_of(rendered):
        assert manifest["kind"] != "ServiceAccount" or manifest["automountServiceAccountToken"] is False


def test_traffic_is_never_rendered(rendered: dict[str, Manifests]):
    for manifests in rendered.values():
        assert "traffic" not in only(manifests, "Service", "flowers")["spec"]


def test_variables_of_the_function_are_settings_that_its_process_has():
    known = {leaf.env for leaf in iter_leaves(FunctionSettings)}
    for container in only(render_app(CASES["full"]), "Service", "flowers")["spec"]["template"]["spec"]["containers"]:
        assert {one["name"] for one in container["env"]} <= {*known, *TELEMETRY_OFF}


def test_a_request_may_take_as_long_as_the_most_patient_trigger_waits():
    app = plain_app()
    patient = replace(app.triggers[0], delivery=DeliverySettings(timeout_s=250))
    pod = only(render_app(replace(app, triggers=(patient,))), "Service")
    assert pod["spec"]["template"]["spec"]["timeoutSeconds"] == 250


@pytest.mark.parametrize(("idle_s", "window"), [(0.5, "6s"), (59.6, "60s")])
def test_the_window_is_one_that_knative_takes(idle_s: float, window: str):
    made = render_app(plain_app(scale=ScaleSettings(idle_s=idle_s)))
    annotations = only(made, "Service")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/window"] == window


def test_only_a_selector_places_the_function_and_then_it_never_goes_to_zero():
    placed = only(render_app(CASES["selected"]), "Service")["spec"]["template"]
    assert placed["spec"]["nodeSelector"] == {"edge": "yes"}
    assert placed["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "1"
    anywhere = only(render_app(CASES["plain"]), "Service")["spec"]["template"]
    assert "nodeSelector" not in anywhere["spec"]
    assert anywhere["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "0"


def test_what_a_cluster_needs_and_eaves_yaml_lacks_is_said_all_at_once():
    sources = (SourceSpec(name="inbox"), SourceSpec(name="camera", agent="node", options={"path": "camera"}))
    short = TriggerSpec(name="short", delivery=DeliverySettings(timeout_s=30))
    app = plain_app(image="registry.example/flowers:v1")
    with pytest.raises(ConfigError) as error:
        render_app(
            at_site(
                replace(app, sources=sources, triggers=(*app.triggers, short)),
                KnativeSettings(),
                SiteSettings(name="barn"),
            )
        )
    assert [fault.path for fault in error.value.faults] == [
        "knative.image",
        "knative.agent_image",
        "triggers[0].delivery.timeout_s",
        "sources[0].claim",
        "sources[1].path",
        "sites.namespace",
    ]


def test_files_are_named_so_that_what_others_need_is_applied_first(tmp_path: Path):
    written = write_files(render_app(CASES["full"]), tmp_path)
    assert sorted(written) == written
    names = [path.stem.partition("-")[2] for path in written]
    kinds = [name.partition("-")[0] for name in names]
    assert kinds[0] == "namespace"
    assert names.index("sinkbinding-flowers-inbox") < names.index("statefulset-flowers-inbox")
    assert names.index("service-flowers-gate-mqtt") < names.index("trigger-flowers-gate")
    assert kinds.index("serviceaccount") < kinds.index("service")
    assert kinds.index("daemonset") < kinds.index("service")


def test_files_that_are_no_longer_rendered_go_and_files_of_others_stay(tmp_path: Path):
    write_files(render_app(CASES["full"]), tmp_path)
    (tmp_path / "theirs.yaml").write_text("kind: ConfigMap\n")
    written = write_files(render_app(CASES["plain"]), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*written, tmp_path / "theirs.yaml"])
