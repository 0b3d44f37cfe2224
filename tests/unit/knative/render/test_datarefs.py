"""Images that stay in buckets: what the function's pod gets to fetch them, and what is refused before it is applied."""

from dataclasses import replace
from typing import Any

import pytest

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.platform import SourceSpec
from knative.client.kinds import KSERVICE
from knative.resources.agent import find_agent_image, find_missing_images
from knative.resources.rendering import render_app
from knative.settings import ClusterApp, KnativeSettings
from tests.cluster.apps import AGENT_IMAGE, S3_IMAGE, at_site, full_settings, plain_app
from tests.cluster.manifests import restricted_faults
from tests.unit.knative.render import find_faults

HOSTS = {"EAVES_DATAREF_HOSTS": "photos.s3.eu-central-1.amazonaws.com"}
LARGE = {
    "path": "/data/in",
    "claim_check_over_bytes": 1_000_000,
    "claim_check_bucket": "s3://photos",
    "claim_check_region": "eu-central-1",
}


def app(options: dict[str, Any], **env: str) -> ClusterApp:
    source = SourceSpec(name="gate", claim="photos", secret="keys", options=options)
    return replace(plain_app(env=env), sources=(source,))


def read_function(wanted: ClusterApp, **settings: Any) -> dict[str, Any]:
    made = render_app(at_site(wanted, full_settings(**settings)))
    (service,) = [one for one in made if one["kind"] == KSERVICE.kind]
    template = service["spec"]["template"]
    assert restricted_faults(template) == []
    return dict(template["spec"])


@pytest.mark.parametrize(
    ("source", "image"),
    [
        (SourceSpec(name="gate", claim="photos", options=LARGE), S3_IMAGE),
        (SourceSpec(name="shop", kind="s3", options={"bucket": "s3://photos"}), S3_IMAGE),
        (SourceSpec(name="gate", claim="photos"), AGENT_IMAGE),
    ],
)
def test_an_agent_with_a_bucket_has_the_container_image_with_boto3(source: SourceSpec, image: str):
    assert find_agent_image(source, full_settings()) == image
    wanted = replace(plain_app(), sources=(source,), knative=full_settings(agent_s3_image=""))
    assert dict(find_missing_images(wanted)).keys() == ({"agent_s3_image"} if image == S3_IMAGE else set())


def test_the_keys_are_a_secret_that_the_functions_user_can_read():
    pod = read_function(plain_app(env=HOSTS), dataref_secret="bucket-keys")
    assert {"name": "credentials", "secret": {"secretName": "bucket-keys", "defaultMode": 0o444}} in pod["volumes"]
    (container,) = pod["containers"]
    assert {"name": "credentials", "mountPath": "/credentials", "readOnly": True} in container["volumeMounts"]
    assert {"name": "EAVES_DATAREF_CREDENTIALS", "value": "/credentials"} in container["env"]


def test_a_folder_of_this_machine_is_never_named_in_the_pod():
    env = {**HOSTS, "EAVES_DATAREF_CREDENTIALS": "secrets/bucket"}
    found = find_faults(plain_app(env=env))
    assert found["knative.dataref_secret"].endswith(
        "kubectl -n eaves create secret generic flowers-datarefs --from-file=secrets/bucket"
    )
    (container,) = read_function(plain_app(env=env), dataref_secret="bucket-keys")["containers"]
    assert [one["value"] for one in container["env"] if one["name"] == "EAVES_DATAREF_CREDENTIALS"] == ["/credentials"]


def test_a_secret_for_no_host_is_refused():
    assert find_faults(plain_app(), dataref_secret="keys") == {
        "knative.dataref_secret": "has no effect without function.dataref_hosts"
    }
    with pytest.raises(ConfigError, match=r"dataref_secret: must be a name that Kubernetes allows: .* \(got .A B.\)"):
        build(KnativeSettings, SettingsLayer(origin="eaves.yaml", values={"dataref_secret": "A B"}))
