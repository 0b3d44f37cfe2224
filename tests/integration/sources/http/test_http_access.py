"""How the http source is let in: passwords, digests, redirects, certificates, a proxy."""

import hashlib
import itertools
import re
from pathlib import Path

from eaves.http_client.proxies import parse_proxies
from tests.fakes.http.camera import Asked, open_camera, respond
from tests.fakes.http.proxy import open_proxy
from tests.fakes.sources.source_context import RecordingContext
from tests.inputs.certificates import build_server_context, make_certificate
from tests.integration.sources.http.polling import JPEG, counting, polling, wait_for_frames, wait_for_state


def check_digest(asked: Asked, nonce: str, password: str = "secret") -> bool:
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', asked.headers.get("authorization", "")))
    if fields.get("nonce") != nonce:
        return False

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    secret, what = digest(f"viewer:cam:{password}"), digest(f"GET:{asked.target}")
    expected = digest(f"{secret}:{nonce}:{fields['nc']}:{fields['cnonce']}:auth:{what}")
    return bool(fields["uri"] == asked.target and fields["response"] == expected)


def write_credentials(folder: Path, password: str = "secret") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "username").write_text("viewer\n")
    (folder / "password").write_text(f"{password}\n")
    return folder


def test_digest_logs_in_once_for_as_long_as_the_nonce_is_good(tmp_path: Path):
    nonce, numbers = ["first"], itertools.count()

    def answer(asked: Asked) -> bytes:
        if check_digest(asked, nonce[0]):
            return counting(numbers)
        asks = f'Digest realm="cam", qop="auth", algorithm=SHA-256, nonce="{nonce[0]}"'
        return respond(401, b"no", ("WWW-Authenticate", 'Basic realm="cam"'), ("WWW-Authenticate", asks))

    context = RecordingContext()
    context.credentials = write_credentials(tmp_path)
    with open_camera(answer) as camera, polling(f"{camera.url}/a%20b?c=d e".replace(" ", "%20"), context):
        wait_for_frames(context, 3)
        assert [("authorization" in asked.headers) for asked in camera.asked[:4]] == [False, True, True, True]
        assert camera.connections == 1
        nonce[0] = "second"
        wait_for_frames(context, 6)
        assert context.states == [("watching", "")]


def test_a_password_that_is_wrong_is_said_without_it_and_used_once_it_is_changed(tmp_path: Path):
    expected = "Basic dmlld2VyOnNlY3JldA=="

    def answer(asked: Asked) -> bytes:
        good = asked.headers.get("authorization") == expected
        return respond(body=JPEG) if good else respond(401, WWW_Authenticate='Basic realm="cam"')

    context = RecordingContext()
    context.credentials = write_credentials(tmp_path, "hunter2")
    with open_camera(answer) as camera, polling(camera.url, context):
        reported = wait_for_state(context, "refuses the user name or the password")
        assert "hunter2" not in reported
        asked = len(camera.asked)
        assert asked == 2  # further tries could have the camera lock the account
        write_credentials(tmp_path)
        wait_for_frames(context, 1)


def test_credentials_that_are_not_there_yet_are_waited_for(tmp_path: Path):
    context = RecordingContext()
    context.credentials = tmp_path / "secret"
    with open_camera(lambda _: respond(body=JPEG)) as camera, polling(camera.url, context):
        wait_for_state(context, "is not a folder")
        write_credentials(tmp_path / "secret")
        wait_for_frames(context, 1)


def test_a_password_in_the_address_works_and_is_never_shown():
    def answer(asked: Asked) -> bytes:
        good = asked.headers.get("authorization") == "Basic dmlld2VyOnMvY3JldA=="
        return respond(503) if good else respond(401, WWW_Authenticate='Basic realm="cam"')

    with (
        open_camera(answer) as camera,
        polling(camera.url.replace("//", "//viewer:s%2Fcret@") + "/?token=t0p") as context,
    ):
        reported = wait_for_state(context, "503")
        assert reported == f"{camera.url}/?token=*** answers with status 503"


def test_a_redirect_within_the_host_is_followed_and_logged_in_at():
    def answer(asked: Asked) -> bytes:
        if asked.target == "/":
            return respond(301, Location="/real.jpg")
        return respond(body=JPEG)

    with open_camera(answer) as camera, polling(camera.url) as context:
        wait_for_frames(context, 1)
        assert [asked.target for asked in camera.asked[:2]] == ["/", "/real.jpg"]


def test_tls_trusts_the_authority_in_the_credentials_and_shows_the_client_certificate(tmp_path: Path):
    server, client = make_certificate(tmp_path / "server"), make_certificate(tmp_path / "client", "viewer")
    tls = build_server_context(server)
    tls.load_verify_locations(client[0])
    tls.verify_mode = tls.verify_mode.CERT_REQUIRED
    context = RecordingContext()
    context.credentials = tmp_path / "credentials"
    context.credentials.mkdir()
    with open_camera(lambda _: respond(body=JPEG), context=tls) as camera, polling(camera.url, context):
        wait_for_state(context, "certificate is not trusted")
        (context.credentials / "tls.crt").write_bytes(client[0].read_bytes())
        (context.credentials / "tls.key").write_bytes(client[1].read_bytes())
        (context.credentials / "ca.crt").write_bytes(server[0].read_bytes())
        wait_for_frames(context, 1)


def test_a_camera_is_reached_through_the_proxy_of_the_process():
    context = RecordingContext()
    with open_proxy() as proxy, open_camera(lambda _: respond(body=JPEG)) as camera:
        proxy.routes["cam.test:80"] = int(camera.url.rpartition(":")[2])
        context.proxies = parse_proxies({"http_proxy": f"http://{proxy.host}"})
        with polling("http://cam.test/snap.jpg", context):
            wait_for_frames(context, 1)
        assert "GET http://cam.test/snap.jpg" in proxy.targets()
