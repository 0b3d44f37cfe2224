"""A bucket over real HTTP: versions, digests, credentials that change, TLS, a proxy, and stores that do wrong."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.bucket.bucket import StoredObject
from eaves.bucket.location import parse_location
from eaves.bucket.s3_bucket import S3Bucket
from eaves.errors import (
    ConfigError,
    DeliveryError,
    EavesError,
    ForbiddenError,
    ImageTooLargeError,
    NotFoundError,
    StatusError,
    UnreachableError,
)
from eaves.http_client.proxies import Proxies, Proxy
from tests.fakes.http.camera import Answer, FakeCamera, open_camera, respond
from tests.processes.commands import run_command
from tests.sources.store import KEYS, Store, open_store, write_keys
from tests.waiting import wait_until

FOUND = StoredObject(key="a.jpg", etag="abc", size_bytes=3, modified_at_ns=0)
HEAD = '<?xml version="1.0"?><ListBucketResult>'


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with open_store() as opened:
        opened.s3.create_bucket(Bucket="photos")
        yield opened


def build(url: str, *, timeout_s: float = 5.0, credentials: Path | None = None) -> S3Bucket:
    location = parse_location("s3://photos", endpoint=url)
    return S3Bucket(location, credentials=credentials, timeout_s=timeout_s)


def serving(answer: bytes) -> Answer:
    return lambda asked: answer


@pytest.mark.parametrize("key", ["a/../b/./c.jpg", "a//b c+ü%2F.jpg"])
def test_keys_that_others_chose_are_read_exactly_and_are_no_url_where_clients_would_change_it(
    store: Store, tmp_path: Path, key: str
):
    name = hashlib.sha256(key.encode()).hexdigest()[:20]
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key=key, Body=key.encode())
    bucket = S3Bucket(parse_location(f"s3://{name}", endpoint=store.url), credentials=write_keys(tmp_path / "keys"))
    (found,) = bucket.list("")
    assert (found.key, bucket.get(found, 100)) == (key, key.encode())
    if "./" in key:
        with pytest.raises(NotFoundError, match="no URL can name"):
            bucket.put(key, b"", content_type="image/jpeg")


def test_credentials_are_read_at_each_request(tmp_path: Path):
    folder = write_keys(tmp_path / "keys")
    with open_camera(serving(respond(200, f"{HEAD}</ListBucketResult>".encode()))) as fake:
        bucket = build(fake.url, credentials=folder)
        for key in ("AKIAFIRST", "AKIASECOND"):
            (folder / "access_key").write_text(key)
            assert list(bucket.list("")) == []
            assert f"Credential={key}/" in fake.asked[-1].headers["authorization"]
        (folder / "session_token").write_text("temporary")
        list(bucket.list(""))
        assert fake.asked[-1].headers["x-amz-security-token"] == "temporary"
        (folder / "secret_key").unlink()
        with pytest.raises(ConfigError, match="must hold both access_key and secret_key"):
            list(bucket.list(""))


def test_without_credentials_requests_are_not_signed():
    with open_camera(serving(respond(200, f"{HEAD}</ListBucketResult>".encode()))) as fake:
        assert list(build(fake.url).list("")) == []
        assert "authorization" not in fake.asked[0].headers


def test_requests_go_through_the_proxy_of_the_process():
    with open_camera(serving(respond(200, f"{HEAD}</ListBucketResult>".encode()))) as fake:
        port = int(fake.url.rpartition(":")[2])
        proxies = Proxies(http=Proxy(host="127.0.0.1", port=port))
        bucket = S3Bucket(parse_location("s3://photos", endpoint="http://minio.example:9000"), proxies=proxies)
        assert list(bucket.list("")) == []
        assert fake.asked[0].target.startswith("http://minio.example:9000/photos?")


def hang(fake: FakeCamera) -> Answer:
    return lambda asked: fake.hang()


def trickle_body(fake: FakeCamera) -> Answer:
    return lambda asked: fake.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x")


@pytest.mark.parametrize("behave", [hang, trickle_body])
def test_a_store_that_does_not_answer_ends_within_the_time_limit(behave: Callable[[FakeCamera], Answer]):
    with open_camera(serving(b"")) as fake:
        fake.answer = behave(fake)
        began = time.monotonic()
        with pytest.raises(UnreachableError):
            build(fake.url, timeout_s=0.5).get(FOUND, 1_000_000)
        assert time.monotonic() - began < 3


def test_answers_that_never_end_leave_two_threads_and_no_more():
    """boto3 limits each wait, and not the whole of an answer."""
    with open_camera(serving(b"")) as fake:
        fake.answer = trickle_body(fake)
        bucket, before = build(fake.url, timeout_s=0.3), threading.enumerate()  # with those of other tests
        for _ in range(4):
            with pytest.raises(UnreachableError):
                bucket.get(FOUND, 1_000_000)
        assert sum(thread.name == "s3" and thread not in before for thread in threading.enumerate()) <= 2


def test_a_request_in_progress_is_ended_from_another_thread_and_none_is_sent_afterwards():
    with open_camera(serving(b"")) as fake:
        fake.answer = hang(fake)
        bucket = build(fake.url, timeout_s=30)
        errors: list[EavesError] = []

        def read() -> None:
            try:
                bucket.get(FOUND, 1_000)
            except EavesError as error:
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(lambda: fake.asked)
        bucket.abort()
        thread.join(5)
        assert isinstance(errors[0], UnreachableError)
        with pytest.raises(UnreachableError, match="its sender stops"):
            bucket.get(FOUND, 1_000)
        assert len(fake.asked) == 1


LOOP = (
    f"{HEAD}<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>".encode()
)

WRONG: list[tuple[bytes, type[EavesError], str]] = [
    (respond(200, LOOP), StatusError, "same next token"),
    (
        respond(200, b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
        StatusError,
        "next page",
    ),
    (respond(200, b"<html>"), StatusError, "status 500"),
    (respond(200, HEAD.encode(), length=-1), EavesError, "photos at 127.0.0.1"),
    (respond(301, b"", Location="http://127.0.0.1:1/"), ConfigError, "another region"),
    (b"no http\r\n\r\n", DeliveryError, "closed the connection"),
]


def test_a_store_that_answers_wrongly_is_refused():
    with open_camera(serving(b"")) as fake:
        bucket = build(fake.url)
        for answer, kind, message in WRONG:
            fake.answer = serving(answer)
            with pytest.raises(kind, match=message):
                list(bucket.list(""))


@pytest.mark.parametrize("length", [1_000, -1])
def test_an_object_that_breaks_off_is_not_taken_for_complete(length: int):
    answer = respond(200, b"ab", length=length, Connection="close")
    with open_camera(serving(answer)) as fake, pytest.raises(UnreachableError):
        build(fake.url).get(FOUND, 10_000)


def test_an_object_that_is_larger_than_listed_is_refused():
    with open_camera(serving(respond(200, b"x" * 2_000))) as fake, pytest.raises(ImageTooLargeError):
        build(fake.url).get(FOUND, 1_000)


def refuse(status: int, code: str, more: str = "", **headers: Any) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>secret text</Message>{more}</Error>" if code else ""
    return respond(status, body.encode(), **headers)


REFUSALS: list[tuple[bytes, type[EavesError], str]] = [
    (refuse(404, "NoSuchBucket"), NotFoundError, "the bucket photos at 127.0.0.1:"),
    (refuse(404, "NoSuchKey"), NotFoundError, "the object a.jpg does not exist in the bucket photos at"),
    (refuse(412, "PreconditionFailed"), NotFoundError, "the object a.jpg was replaced"),
    (refuse(403, "InvalidObjectState"), NotFoundError, "the object a.jpg is in an archive"),
    (refuse(403, "InvalidAccessKeyId"), ConfigError, "the store doesn't know the access key (InvalidAccessKeyId)"),
    (
        refuse(403, "RequestTimeTooSkewed"),
        ConfigError,
        "this machine's clock differs from the store's by more than",
    ),
    (refuse(403, "AccessDenied"), ForbiddenError, "refuses access to the object a.jpg (AccessDenied)"),
    (refuse(503, "SlowDown"), StatusError, "answers with status 503 (SlowDown)"),
    (
        refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-west-2"),
        ConfigError,
        "it is in another region eu-west-2, not in us-east-1",
    ),
    (
        refuse(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
        ConfigError,
        "it is in another region eu-west-1, not in us-east-1",
    ),
]


def test_a_refusal_has_a_plain_message(tmp_path: Path):
    with open_camera(serving(b"")) as fake:
        bucket = build(fake.url, credentials=write_keys(tmp_path / "keys"))
        for answer, kind, text in REFUSALS:
            fake.answer = serving(answer)
            with pytest.raises(EavesError) as error:
                bucket.get(FOUND, 1_000)
            assert type(error.value) is kind
            assert text in error.value.message
            assert "secret text" not in error.value.message


def write_profile(folder: Path) -> dict[str, str]:
    role = "[profile far]\nrole_arn = arn:aws:iam::123456789012:role/agent\nsource_profile = near\n[profile near]\n"
    (folder / "config").write_text(role + "\n".join(f"{name} = {value}" for name, value in KEYS.items()))
    return {"AWS_CONFIG_FILE": str(folder / "config"), "AWS_PROFILE": "far"}


def write_web_identity(folder: Path) -> dict[str, str]:
    (folder / "token").write_text("a.b.c")
    role = "arn:aws:iam::123456789012:role/agent"
    return {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token")}


@pytest.mark.parametrize("write", [write_profile, write_web_identity])
def test_without_keys_in_files_the_role_of_the_environment_signs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], dict[str, str]]
):
    """A profile that assumes a role, and the web identity that a cluster gives a pod (IRSA)."""
    for name, value in {**write(tmp_path), "AWS_ENDPOINT_URL_STS": store.url}.items():
        monkeypatch.setenv(name, value)
    with open_camera(serving(respond(200, f"{HEAD}</ListBucketResult>".encode()))) as fake:
        assert list(build(fake.url, credentials=tmp_path).list("")) == []
        assert "Credential=ASIA" in fake.asked[-1].headers["authorization"]
        assert fake.asked[-1].headers["x-amz-security-token"]


def test_without_boto3_a_bucket_says_what_to_install():
    code = "import sys; sys.modules['boto3'] = None\nimport eaves.bucket.s3_bucket"
    done = run_command([sys.executable, "-c", code])
    assert "boto3: is not installed" in done.stderr
