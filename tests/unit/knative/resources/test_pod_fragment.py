"""The user's own fields of pods, `knative.pod` and its like: merged into every pod, checked by Kubernetes' schema."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.config import build
from eaves.config.declarations import SettingsLayer
from eaves.config.yaml_text import load_yaml
from knative.resources.function import AWAY
from knative.resources.pod import find_fragment_faults
from knative.resources.rendering import render_app
from knative.resources.standalone_servers import ConsoleDeployment, build_console
from knative.settings import KnativeSettings, merge_fragments
from tests.cluster.apps import (
    AGENT_IMAGE,
    at_site,
    full_app,
    full_settings,
    plain_app,
    plain_site,
    relayed_app,
    watching_app,
)
from tests.cluster.manifests import pod_templates, validate

TAINTED: dict[str, Any] = {
    "tolerations": [{"key": "edge", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 30}],
    "nodeSelector": {"disk": "ssd"},
    "priorityClassName": "edge",
    "runtimeClassName": "kata",
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
}
APPS = {"full": full_app(), "relayed": relayed_app(), "watching": watching_app()}


@pytest.mark.parametrize("name", APPS)
def test_every_pod_of_an_app_gets_the_fields_and_is_valid(name: str, shared: Path):
    made = render_app(
        at_site(APPS[name], full_settings(pod=TAINTED), plain_site(pod={"nodeSelector": {"place": "barn"}}))
    )
    seen = 0
    for one in made:
        for template in pod_templates(one):
            seen += 1
            pod = template["spec"]
            pins = one["metadata"]["labels"]["app.kubernetes.io/component"] == "pin"
            away = list(AWAY) if pins else []
            assert pod["tolerations"] == [*TAINTED["tolerations"], *away], one["metadata"]["name"]
            assert pod["nodeSelector"].items() >= {"disk": "ssd", "place": "barn"}.items()
            assert pod["priorityClassName"] == "edge"
            if not pins:
                assert pod["topologySpreadConstraints"] == TAINTED["topologySpreadConstraints"]
        validate(one, shared)
    assert seen >= 4


def test_a_site_that_takes_a_label_away_is_no_part_of_a_larger_cluster():
    site = plain_site(pod={"nodeSelector": {"edge": None}})
    made = render_app(at_site(plain_app(), KnativeSettings(pod={"nodeSelector": {"edge": "yes"}}), site))
    (function,) = (one for one in made if one["apiVersion"] == "serving.knative.dev/v1")
    template = function["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "0"
    assert "nodeSelector" not in template["spec"]


def test_a_label_of_a_node_is_text_whatever_its_name():
    made = render_app(at_site(plain_app(), KnativeSettings(pod={"nodeSelector": {"weight": "5"}})))
    assert {pod["spec"]["nodeSelector"]["weight"] for one in made for pod in pod_templates(one)} == {"5"}


def test_a_pin_is_pulled_with_the_account_of_the_function():
    """Its pull secrets may be those of the account, and without them a rollout would wait for the pin for ever."""
    made = render_app(at_site(plain_app(), KnativeSettings(pod={"serviceAccountName": "puller"})))
    accounts = {template["spec"]["serviceAccountName"] for one in made for template in pod_templates(one)}
    assert accounts == {"puller"}


def test_resources_of_the_app_are_the_functions():
    gpu = {"resources": {"requests": {"cpu": "1"}, "limits": {"memory": None, "nvidia.com/gpu": "1"}}}
    made = render_app(at_site(full_app(), full_settings(pod=gpu)))
    given = {
        one["metadata"]["name"]: template["spec"]["containers"][0]["resources"]
        for one in made
        for template in pod_templates(one)
    }
    assert given.pop("flowers") == {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"nvidia.com/gpu": "1"}}
    assert "nvidia.com/gpu" not in str(given)


def test_the_most_specific_value_counts_and_lists_are_joined():
    low = {"nodeSelector": {"a": "1", "b": "1"}, "tolerations": [{"key": "a"}], "priorityClassName": "low"}
    high = {"nodeSelector": {"b": "2"}, "tolerations": [{"key": "a"}, {"key": "b"}], "priorityClassName": "high"}
    assert merge_fragments(low, high) == {
        "nodeSelector": {"a": "1", "b": "2"},
        "tolerations": [{"key": "a"}, {"key": "b"}],
        "priorityClassName": "high",
    }


def test_numbers_of_eaves_yaml_are_numbers_in_the_pod():
    text = "pod: {tolerations: [{key: edge, value: 1, tolerationSeconds: 30}], nodeSelector: {gpu: true}}"
    settings = build(KnativeSettings, SettingsLayer(origin="eaves.yaml", values=load_yaml(text)))
    made = render_app(at_site(plain_app(), replace(settings, agent_image=AGENT_IMAGE), plain_site()))
    pods = [template["spec"] for one in made for template in pod_templates(one)]
    assert pods[0]["tolerations"][0] == {"key": "edge", "value": "1", "tolerationSeconds": 30}
    assert pods[0]["nodeSelector"] == {"gpu": "true"}


def test_every_fault_is_named_with_its_path():
    fragment = {
        "toleration": [],
        "tolerations": [{"efect": "NoSchedule", "tolerationSeconds": "soon"}],
        "topologySpreadConstraints": [{"maxSkew": "1"}],
        "nodeSelector": ["ssd"],
        "resources": {"limits": {"memory": "much"}, "request": {}},
    }
    found = dict(find_fragment_faults(fragment))
    assert found.pop("toleration").startswith("must be one of affinity, imagePullSecrets, ")
    assert found == {
        "tolerations[0].efect": "is no field that Kubernetes knows here (got 'NoSchedule')",
        "tolerations[0].tolerationSeconds": "Input should be a valid integer (got 'soon')",
        "topologySpreadConstraints[0].topologyKey": "is required",
        "topologySpreadConstraints[0].whenUnsatisfiable": "is required",
        "nodeSelector": "Input should be a valid dictionary (got ['ssd'])",
        "resources.request": "is no field that Kubernetes knows here (got {})",
        "resources.limits.memory": "must be a quantity such as 250m or 256Mi (got 'much')",
    }


def test_a_console_takes_it_as_text():
    text = "{tolerations: [{operator: Exists}], resources: {limits: {memory: 512Mi}}}"
    made = list(build_console(ConsoleDeployment(image=AGENT_IMAGE, pod=text)))
    (pod,) = [template["spec"] for one in made for template in pod_templates(one)]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "20m", "memory": "96Mi"},
        "limits": {"memory": "512Mi"},
    }
    (fault,) = ConsoleDeployment(image=AGENT_IMAGE, pod="registry").faults()
    assert fault == ("pod", "must be a mapping, such as {imagePullSecrets: [{name: registry}]}")
