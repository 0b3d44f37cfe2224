"""Credentials are read from files and never shown."""

from pathlib import Path

import pytest

from eaves.credentials import AwsKeys, Credentials, fill_in, read_aws_keys, read_credentials
from eaves.errors import ConfigError
from eaves.redact import has_secrets, redact, redact_values


def test_a_folder_as_kubernetes_mounts_a_secret(tmp_path: Path):
    for name, text in {
        "username": "gate\n",
        "password": "pa ss\r\n",
        "token": " bearer-of \n",
        "tls.crt": "C",
        "tls.key": "K",
        "ca.crt": "A",
    }.items():
        (tmp_path / name).write_bytes(text.encode())
    found = read_credentials(tmp_path)
    assert (found.username, found.password, found.authorities_pem) == ("gate", "pa ss", "A")
    assert (found.certificate, found.key) == (tmp_path / "tls.crt", tmp_path / "tls.key")
    assert found.token == "bearer-of"
    assert "pa ss" not in repr(found)
    assert "bearer-of" not in repr(found)


def test_keys_of_an_object_store(tmp_path: Path):
    assert read_aws_keys(tmp_path) is None
    (tmp_path / "access_key").write_text("AKIA\n")
    with pytest.raises(ConfigError, match="must hold both access_key and secret_key"):
        read_aws_keys(tmp_path)
    (tmp_path / "secret_key").write_text("s/+cret \n")
    assert read_aws_keys(tmp_path) == AwsKeys(access_key="AKIA", secret_key="s/+cret")
    (tmp_path / "session_token").write_text("t\nX-Other: 1")
    with pytest.raises(ConfigError, match="session_token: must be printable ASCII") as caught:
        read_aws_keys(tmp_path)
    assert "Other" not in str(caught.value)
    with pytest.raises(ConfigError, match="is not a folder"):
        read_aws_keys(tmp_path / "absent")


def test_no_folder_is_no_credentials(tmp_path: Path):
    assert read_credentials(None) == read_credentials(tmp_path) == Credentials()


@pytest.mark.parametrize("made", ["nothing", "certificate", "binary", "large", "folder"])
def test_what_cannot_be_used_is_named_without_its_content(tmp_path: Path, made: str):
    folder = tmp_path / "login"
    if made != "nothing":
        folder.mkdir()
    if made == "certificate":
        (folder / "tls.crt").write_text("C")
    if made == "binary":
        (folder / "password").write_bytes(b"geheim\xff")
    if made == "large":
        (folder / "password").write_bytes(b"geheim" * 200_000)
    if made == "folder":
        (folder / "password").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_credentials(folder)
    assert "login" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None or "geheim" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no connection to mqtt://gate:geheim@h:1883/t", "no connection to mqtt://***@h:1883/t"),
        ("http://u:p@ss@h/x and rtsp://u@h/y", "http://***@h/x and rtsp://***@h/y"),
        ("http://h/snap.cgi?user=admin&pwd=geheim&size=2", "http://h/snap.cgi?user=***&pwd=***&size=2"),
        ("http://h/s?X-Amz-Signature=abc&access_token=d", "http://h/s?X-Amz-Signature=***&access_token=***"),
        ("mail@example.org wrote http://h/a@b", "mail@example.org wrote http://h/a@b"),
        ("http://h/p?channel=1&monkey=2", "http://h/p?channel=1&monkey=2"),
        ("http://h/p?user={username}&password={password}", "http://h/p?user={username}&password={password}"),
        ("http://h/p?pwd={password}geheim&user={other}", "http://h/p?pwd=***&user=***"),
        ("http://h/v.cgi?loginuse=admin&loginpas=geheim", "http://h/v.cgi?loginuse=***&loginpas=***"),
        ("http://h/s?u=admin&p=geheim&q=2", "http://h/s?u=***&p=***&q=2"),
        ("http://h/s?psw=geheim&JWT=geheim&sid=geheim", "http://h/s?psw=***&JWT=***&sid=***"),
        ("http://h/s?loginName=admin&PHPSESSID=geheim", "http://h/s?loginName=***&PHPSESSID=***"),
        ("http://h/s?side=left&up=1&unit=2", "http://h/s?side=left&up=1&unit=2"),
        ("http://h/s?u={username}&p={password}", "http://h/s?u={username}&p={password}"),
        ("rtsp://h/user=a_password=geheim_channel=1_s=0.sdp?x", "rtsp://h/user=a_password=***_channel=1_s=0.sdp?x"),
        ("rtsp://h/user=a&password=geheim&channel=1?x", "rtsp://h/user=a&password=***&channel=1?x"),
        ("no way to /user=a_password=ge_he%26im_c=1.jpg", "no way to /user=a_password=***_c=1.jpg"),
        ("http://h/token=ge_heim==/1", "http://h/token=***/1"),
        ("http://h/password=geheim", "http://h/password=***"),
        ("rtsp://h/user=a_password=_channel=1", "rtsp://h/user=a_password=_channel=1"),
        ("rtsp://h/password={password}_channel=1", "rtsp://h/password={password}_channel=1"),
        ("rtsp://h/x&password={password}?x", "rtsp://h/x&password={password}?x"),
        ("rtsp://h/password={password}geheim", "rtsp://h/password=***"),
        ("s3://b/user=5/channel_1=7", "s3://b/user=5/channel_1=7"),
    ],
)
def test_redacted(text: str, shown: str):
    assert redact(text) == shown
    assert has_secrets(text) == (text != shown)


def test_placeholders_are_filled_in_but_not_in_the_host():
    found = Credentials(username="me", password="a&b/c%")
    address = (
        "http://{username}:{password}@{password}/u={username}_p={password}?user={username}&p={password}&size={size}"
    )
    shown = "http://me:a%26b%2Fc%25@{password}/u=me_p=a%26b%2Fc%25?user=me&p=a%26b%2Fc%25&size={size}"
    assert fill_in(address, found) == shown
    assert fill_in("http://h/snap.jpg", found) == "http://h/snap.jpg"


def test_known_secrets_are_hidden_in_every_form():
    text = "P@ss/1 or p%40ss%2f1 or abc"
    assert redact_values(text, ["p@ss/1", "abc", ""]) == "*** or *** or abc"
    assert redact_values("p@ss/1", ["p%40ss%2F1"]) == "***"
