"""Object store that checks the signature of each request: moto's server with one user and an empty bucket.

It runs in a pod and prints the user's key as JSON.
"""

import json
import sys
import threading

import boto3  # type: ignore[import-untyped, import-not-found, unused-ignore]
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer


def main(port: int, bucket: str) -> None:
    """Make the user and the bucket, then serve."""
    inside = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    inside.start()
    host, own = inside.get_host_and_port()
    place = {"endpoint_url": f"http://{host}:{own}", "region_name": "us-east-1"}
    admin = {**place, "aws_access_key_id": "admin", "aws_secret_access_key": "admin"}
    boto3.client("s3", **admin).create_bucket(Bucket=bucket)
    iam = boto3.client("iam", **admin)
    iam.create_user(UserName="eaves")
    key = iam.create_access_key(UserName="eaves")["AccessKey"]
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="eaves", PolicyName="all", PolicyDocument=document)
    sys.stdout.write(json.dumps({"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}) + "\n")
    sys.stdout.flush()
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0
    ThreadedMotoServer(ip_address="0.0.0.0", port=port, verbose=False).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
