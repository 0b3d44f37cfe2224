"""The address of a stream with its credentials, and texts without them."""

from pathlib import Path

import pytest

from eaves.credentials import Credentials, read_credentials
from eaves.plugins.camera.address import StreamLogin, build_url
from eaves.plugins.camera.kind import CameraSettings


@pytest.mark.parametrize(
    ("url", "username", "password", "expected"),
    [
        ("rtsp://cam:8554/1?x=1", "ad min", "p@s:s/#?", "rtsp://ad%20min:p%40s%3As%2F%23%3F@cam:8554/1?x=1"),
        ("rtsp://old:secret@cam/1", "admin", "new", "rtsp://admin:new@cam/1"),
        ("rtsp://old:secret@cam/1", "", "", "rtsp://old:secret@cam/1"),
        ("rtsp://o%40d@cam/1", "", "p/w", "rtsp://o%40d:p%2Fw@cam/1"),
        ("rtsp://[fe80::1]:554/1", "a", "b", "rtsp://a:b@[fe80::1]:554/1"),
        ("rtmp://cam/x?u={username}&p={password}", "a&b", "c d", "rtmp://a%26b:c%20d@cam/x?u=a%26b&p=c%20d"),
        ("rtsp://admin:{password}@cam/1", "", "b/", "rtsp://admin:b%2F@cam/1"),
        ("clips/at:10?.mp4", "a", "b", "clips/at:10?.mp4"),
    ],
)
def test_user_and_password_go_into_the_address(url: str, username: str, password: str, expected: str):
    assert build_url(url, Credentials(username=username, password=password)) == expected


def test_texts_of_the_decoder_have_no_password_in_any_form():
    settings = CameraSettings(url="rtsp://cam/1?token={password}")
    login = StreamLogin(settings, Credentials(username="admin", password="p@ss wörd"), None)
    url = login.request(1).url
    for text in (f"{url}: timed out", "wrong: p@ss wörd", "wrong: p%40ss%20w%C3%B6rd", f"at {url.upper()}"):
        hidden = login.hide(text)
        assert "p@ss" not in hidden
        assert "p%40ss%20w" not in hidden
        assert "ADMIN:" not in hidden
    assert login.hide(f"{url} timed out") == "rtsp://cam/1?token={password} timed out"


def test_the_request_names_the_files_of_a_folder(tmp_path: Path):
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).write_text("PEM")
    login = StreamLogin(CameraSettings(url="rtsps://cam/1", every_s=2), read_credentials(tmp_path), tmp_path)
    request = login.request(77)
    assert (request.authorities, request.certificate, request.key) == tuple(
        str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key")
    )
    assert (request.every_s, request.max_bytes, request.transport) == (2, 77, "tcp")
