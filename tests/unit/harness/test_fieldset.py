"""The simulated API server's server-side apply does what the real one's documentation says."""

from typing import Any

import pytest

from tests.fakes.kubernetes.objects import Objects, Refused, resource_of

DEPLOYMENT = resource_of({"apiVersion": "apps/v1", "kind": "Deployment"})


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    template = {"template": {"spec": {"containers": list(containers)}}} if containers else {}
    return {"metadata": {"name": "a"}, "spec": {**template, **spec}}


def containers(value: dict[str, Any]) -> Any:
    return value["spec"]["template"]["spec"]["containers"]


@pytest.fixture
def objects() -> Objects:
    return Objects()


def test_two_managers_share_a_list_with_keys(objects: Objects):
    objects.apply(DEPLOYMENT, "default", deployment({"name": "app", "image": "i"}), manager="eaves")
    both = objects.apply(DEPLOYMENT, "default", deployment({"name": "proxy", "image": "p"}), manager="mesh")
    assert [one["name"] for one in containers(both)] == ["app", "proxy"]
    after = objects.apply(DEPLOYMENT, "default", deployment(replicas=2), manager="eaves")
    assert containers(after) == [{"name": "proxy", "image": "p"}]


def test_conflicts_are_worded_as_the_real_one_words_them(objects: Objects):
    objects.apply(DEPLOYMENT, "default", deployment({"name": "app", "image": "i"}, replicas=1), manager="kn")
    with pytest.raises(Refused) as caught:
        objects.apply(DEPLOYMENT, "default", deployment({"name": "app", "image": "j"}, replicas=2), manager="eaves")
    status = caught.value.status
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "kn":\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="app"].image'
    )
    assert status["details"]["causes"][0] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kn"',
        "field": ".spec.replicas",
    }


def test_who_writes_the_whole_object_owns_what_that_changed(objects: Objects):
    objects.apply(DEPLOYMENT, "default", deployment(replicas=1, paused=True), manager="eaves")
    live = objects.find(DEPLOYMENT, "default", "a")
    live["spec"]["replicas"] = 5
    written = objects.write(DEPLOYMENT, "default", live, manager="autoscaler")
    owners = {entry["manager"]: entry["fieldsV1"] for entry in written["metadata"]["managedFields"]}
    assert owners == {"eaves": {"f:spec": {"f:paused": {}}}, "autoscaler": {"f:spec": {"f:replicas": {}}}}
    with pytest.raises(Refused, match='conflict with "autoscaler" using apps/v1 at '):
        objects.apply(DEPLOYMENT, "default", deployment(replicas=1), manager="eaves")
