"""Who is let in at a registry, and with what: Basic, tokens, Docker's config and its helpers."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from eaves.errors import AccessError, OciError, RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Reference
from eaves.oci.registry.authentication import RegistryCredentials, load_credentials
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import small_index
from tests.fakes.http.registry import FakeRegistry, Reply

SECRET = base64.b64encode(b"eaves:secret").decode()


def write_config(folder: Path, values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


def reach(fake: FakeRegistry, config: Path) -> Registry:
    access = Access(plain_http=True, configs=(config,), pause_s=0.001)
    return Registry(Reference(host=fake.host, repository="site/x"), access)


def push(fake: FakeRegistry, folder: Path, config: Path) -> Registry:
    layout, descriptor = small_index(folder, architectures=("amd64",))
    registry = reach(fake, config)
    copy_image(layout, registry, descriptor, name="v1", mounts=["site/other"])
    assert registry.resolve("v1").digest == descriptor.digest
    return registry


def test_a_name_and_a_password(fake: FakeRegistry, tmp_path: Path):
    config = write_config(tmp_path, {"auths": {fake.host: {"auth": SECRET}}})
    for fake.auth in ("basic", "bearer"):
        push(fake, tmp_path / fake.auth, config)
    assert {request.headers["Authorization"] for request in fake.asked("GET token")} == {f"Basic {SECRET}"}


def test_a_token_is_asked_for_once_for_each_scope(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    push(fake, tmp_path, tmp_path / "none.json")
    asked = {tuple(request.query["scope"]) for request in fake.asked("GET token")}
    assert asked == {
        ("repository:site/x:pull,push",),
        ("repository:site/x:pull,push", "repository:site/other:pull"),
        ("repository:site/x:pull",),
    }
    assert all(request.query["service"] == ["tests"] for request in fake.asked("GET token"))
    assert not any("Authorization" in request.headers for request in fake.asked("GET token"))


def test_an_identity_token_goes_by_post(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    push(fake, tmp_path, write_config(tmp_path, {"auths": {fake.host: {"auth": SECRET, "identitytoken": "secret-1"}}}))
    fields = parse_qs(fake.asked("POST token")[0].body.decode())
    assert fields["grant_type"] == ["refresh_token"]
    assert fields["refresh_token"] == ["secret-1"]
    assert fields["scope"] == ["repository:site/x:pull,push"]


def test_who_is_not_let_in_gets_the_reason(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "basic"
    wrong = base64.b64encode(b"eaves:wrong").decode()
    for config in ({}, {"auths": {fake.host: {"auth": wrong}}}):
        with pytest.raises(AccessError) as caught:
            reach(fake, write_config(tmp_path, config)).resolve("v1")
        assert caught.value.exit_code == 77
        assert "log in" in str(caught.value.hint)
        assert "wrong" not in str(caught.value)


def test_a_token_service_that_fails(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    for reply, error, words in (
        (Reply(status=401), AccessError, "no token for repository:site/x:pull"),
        (Reply(status=500), RegistryError, "answered 500"),
        (Reply(status=200, body=b"{}"), RegistryError, "without a token"),
        (Reply(status=200, body=b'{"token": "a\\r\\nX: y"}'), RegistryError, "invalid token"),
        (Reply(), RegistryError, "can't be reached"),
    ):
        fake.fault = lambda request, reply=reply: reply if request.what == "GET token" else None  # type: ignore[misc]
        with pytest.raises(error, match=words):
            reach(fake, tmp_path / "none.json").resolve("v1")


def test_a_challenge_that_cannot_be_answered(fake: FakeRegistry, tmp_path: Path):
    for challenge, words in (
        ("Negotiate", "'Negotiate', which is not supported"),
        ("Bearer realm=", "service '', which is not https"),
        ('Bearer realm="ftp://x/token", Negotiate', "not https"),
        ('Bearer realm="http://127.0.0.1:1/"', "reached"),
    ):
        refusal = Reply(status=401, headers={"WWW-Authenticate": challenge})
        fake.fault = lambda _, refusal=refusal: refusal  # type: ignore[misc]
        with pytest.raises(RegistryError, match=words):
            reach(fake, tmp_path / "none.json").resolve("v1")


def test_challenges_in_any_order_and_in_one_header_or_several(fake: FakeRegistry, tmp_path: Path):
    layout, descriptor = small_index(tmp_path, architectures=("amd64",))
    copy_image(layout, reach(fake, tmp_path / "none.json"), descriptor, name="v1")
    bearer = f'Bearer realm="{fake.url}/token",service="tests"'
    for challenge in (
        f'Basic realm="x", {bearer}',
        f'{bearer}, Basic realm="x"',
        f'Negotiate, Basic realm="a,b", {bearer}',
    ):
        fake.auth, fake.tokens = "bearer", set()
        fake.challenge = challenge
        assert reach(fake, tmp_path / "none.json").resolve("v1").digest == descriptor.digest


def test_harbor_asks_by_basic_when_a_token_has_expired(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    for config in ({}, {"auths": {fake.host: {"auth": SECRET}}}):
        registry = push(fake, tmp_path / str(len(config)), write_config(tmp_path, config))
        fake.tokens, fake.harbor = set(), True
        assert registry.resolve("v1").size > 0
        fake.harbor = False


def test_quay_refuses_a_token_for_two_repositories_and_the_push_goes_on(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    for status in (400, 401, 403):
        denied = Reply(status=status, body=b'{"errors":[{"code":"DENIED"}]}')
        fake.fault = lambda request, denied=denied: (  # type: ignore[misc]
            denied if request.what == "GET token" and len(request.query["scope"]) > 1 else None
        )
        push(fake, tmp_path / str(status), tmp_path / "none.json")


def test_the_logins_of_podman_may_be_for_a_part_of_a_registry(tmp_path: Path):
    docker, podman = write_config(tmp_path, {"auths": {"other.example": {"auth": SECRET}}}), tmp_path / "auth.json"
    names = ("reg.example", "reg.example/team", "reg.example/team/flowers")
    auths = {name: {"auth": base64.b64encode(f"{name}:x".encode()).decode()} for name in names}
    podman.write_text(json.dumps({"auths": auths}))
    for repository, name in (("team/flowers", names[2]), ("team/a/b", names[1]), ("teams/a", names[0])):
        assert load_credentials("reg.example", repository, docker, podman) == RegistryCredentials(
            user=name, password="x"
        )
    assert load_credentials("other.example", "team/flowers", podman, docker) is not None


def write_helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "docker-credential-tests"
    path.write_text(f"#!/bin/sh\nread -r host\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.parametrize("config", [{"credsStore": "tests"}, {"credHelpers": {"reg.example": "tests"}}])
def test_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object]):
    write_helper(tmp_path, monkeypatch, """printf '{"Username": "me", "Secret": "at %s by %s"}' "$host" "$1" """)
    path = write_config(tmp_path, config)
    assert load_credentials("reg.example", "x", path) == RegistryCredentials(
        user="me", password="at reg.example by get"
    )
    if "credHelpers" in config:
        assert load_credentials("other.example", "x", path) is None


def test_a_helper_that_fails_and_a_config_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for script, config, words in (
        ("echo locked >&2; exit 2", {"credsStore": "tests"}, "failed: locked"),
        ("echo nonsense", {"credsStore": "tests"}, "not JSON with Username and Secret"),
        ("", {"credsStore": "that-is-not-there"}, "can't be run"),
        ("", {"credsStore": "../../bin/sh"}, "not a valid name of a credential helper"),
        ("", {"auths": {"reg.example": {"auth": "%%%"}}}, "not base64"),
    ):
        write_helper(tmp_path, monkeypatch, script)
        with pytest.raises(OciError, match=words):
            load_credentials("reg.example", "x", write_config(tmp_path, config))
