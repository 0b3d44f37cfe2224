"""A real object store with the S3 API, moto's server in this process, which checks the signature of each request."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REGION = "eu-central-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """A running store with the bucket `photos`.

    Attributes:
        host: HOST:PORT of the store.
        access_key: Id of the key that may read and write the bucket.
        secret_key: Secret of that key.
        client: boto3's client, with that key.
    """

    host: str
    access_key: str
    secret_key: str
    client: Any

    @property
    def endpoint(self) -> str:
        """Address of the store."""
        return f"http://{self.host}"

    def write_keys(self, folder: Path, *, secret_key: str = "") -> Path:
        """Write the files of the key into a folder, and return it."""
        folder.mkdir(exist_ok=True)
        (folder / "access_key").write_text(self.access_key)
        (folder / "secret_key").write_text(secret_key or self.secret_key)
        return folder

    def list_keys(self) -> list[str]:
        """Keys of all objects."""
        found = self.client.list_objects_v2(Bucket="photos").get("Contents", [])
        return [one["Key"] for one in found]


@contextmanager
def open_store() -> Iterator[ObjectStore]:
    """Run a store until the end of the block; the test is skipped when moto or boto3 isn't installed."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    moto_server = pytest.importorskip("moto.server", reason="moto is not installed")
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()  # the state belongs to the process, and another test may have left some
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    place = {"endpoint_url": f"http://{host}:{port}", "region_name": REGION}
    admin = {**place, "aws_access_key_id": "admin", "aws_secret_access_key": "admin"}
    try:
        iam = boto3.client("iam", **admin)
        iam.create_user(UserName="eaves")
        key = iam.create_access_key(UserName="eaves")["AccessKey"]
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName="eaves", PolicyName="all", PolicyDocument=document)
        names = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        client = boto3.client("s3", **place, **names)
        client.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from here on signatures are checked
            patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
            yield ObjectStore(
                host=f"{host}:{port}", access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"], client=client
            )
        client.close()
        iam.close()
    finally:
        server.stop()
        moto_api_backend.reset()
