"""Data in private buckets: the function signs its requests to the host that a dataref names, and to no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.errors import ClaimDeniedError
from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from functions.dataref import DatarefFetcher
from functions.request_signer import RequestSigner
from functions.settings import FunctionSettings
from functions.url_policy import UrlPolicy
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier, create_app
from tests.object_store import REGION, ObjectStore, open_store

RED = encode_png(COLOURS["red"])
ODD_KEY = "hall 1/\u00fc+%&=?#;:@!$'()*,~.png"


@pytest.fixture
def object_store() -> Iterator[ObjectStore]:
    with open_store() as opened:
        yield opened


def build_fetcher(store: ObjectStore, folder: Path | None) -> DatarefFetcher:
    reach = UrlPolicy(hosts=[store.host], schemes=["http"], networks=["127.0.0.0/8"])
    signer = RequestSigner(folder, region=REGION) if folder else None
    return DatarefFetcher(reach, max_bytes=100_000, timeout_s=20, signer=signer)


def test_a_private_object_is_fetched_with_a_signature_only(object_store: ObjectStore, tmp_path: Path):
    object_store.client.put_object(Bucket="photos", Key=ODD_KEY, Body=RED)
    version = {"Params": {"Bucket": "photos", "Key": ODD_KEY}}
    presigned: str = object_store.client.generate_presigned_url("get_object", **version)
    url = presigned.partition("?")[0]
    folder = object_store.write_keys(tmp_path / "keys")
    assert build_fetcher(object_store, folder).fetch(url).data == RED
    with pytest.raises(ClaimDeniedError, match="answered 403"):
        build_fetcher(object_store, None).fetch(url)


def test_a_changed_key_is_used_without_a_restart(object_store: ObjectStore, tmp_path: Path):
    object_store.client.put_object(Bucket="photos", Key="a.png", Body=RED)
    folder = object_store.write_keys(tmp_path / "keys", secret_key="wrong")
    fetcher, url = build_fetcher(object_store, folder), f"{object_store.endpoint}/photos/a.png"
    with pytest.raises(ClaimDeniedError, match=r"answered 403 \(SignatureDoesNotMatch\)") as caught:
        fetcher.fetch(url)
    assert caught.value.http_status == 503
    object_store.write_keys(folder)
    assert fetcher.fetch(url).data == RED
    (folder / "secret_key").unlink()
    with pytest.raises(ClaimDeniedError, match="must hold both access_key and secret_key"):
        fetcher.fetch(url)
    (folder / "access_key").unlink()
    with pytest.raises(ClaimDeniedError, match="no files access_key and secret_key"):
        fetcher.fetch(url)


def test_a_function_predicts_what_is_in_a_private_bucket(object_store: ObjectStore, tmp_path: Path):
    """The store's content type, which is what a plain upload has, is no reason to refuse the image."""
    object_store.client.put_object(Bucket="photos", Key="a.png", Body=RED)
    folder = object_store.write_keys(tmp_path / "keys", secret_key="wrong")
    settings = FunctionSettings(
        dataref_hosts=(object_store.host,),
        dataref_schemes=("http",),
        dataref_networks=("127.0.0.0/8",),
        dataref_credentials=folder,
        dataref_region=REGION,
    )
    model = FakeModel(build_classifier(write_colours(tmp_path / "artifact")))
    client = create_app(model, settings, concurrency=1).test_client()
    event = Event(id="1", source="/eaves/barn/camera", type=IMAGE_CAPTURED)
    headers, body = encode_binary(event.with_extensions(dataref=f"{object_store.endpoint}/photos/a.png"))
    refused = client.post("/", data=body, headers=headers)
    assert refused.status_code == 503
    assert '"urn:eaves:problem:claim-denied"' in refused.text
    assert "wrong" not in refused.text
    object_store.write_keys(folder)
    assert client.post("/", data=body, headers=headers).headers["ce-label"] == "red"
