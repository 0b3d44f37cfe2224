"""`eaves sources try`: what it shows of a source that works, and which step failed of one that doesn't."""

import io
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from PIL import Image, ImageDraw

from eaves.errors import EavesError
from tests.cli import eaves
from tests.fakes.http.camera import Answer, open_camera, respond
from tests.inputs.certificates import build_server_context, make_certificate
from tests.object_store import REGION, open_store
from tests.ports import find_port
from tests.processes.mosquitto import run_mosquitto


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def picture(colour: tuple[int, int, int] = (40, 120, 60), *, drawn: bool = True, form: str = "JPEG") -> bytes:
    image = Image.new("RGB", (320, 240), colour)
    if drawn:
        ImageDraw.Draw(image).ellipse([80, 40, 240, 200], fill=(240, 230, 220))
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def shows(body: bytes) -> Answer:
    return lambda _: respond(body=body, Content_Type="image/jpeg")


def attempt(*arguments: str | Path) -> tuple[dict[str, Any], EavesError | None]:
    """What `eaves sources try -o json` prints, and the error that it ends with."""
    result = eaves("sources", "try", *arguments, "-o", "json")
    assert result.exception is None or isinstance(result.exception, EavesError), result.output
    assert "hunter2" not in f"{result.output} {result.exception}"
    return json.loads(result.stdout), result.exception


def show(*arguments: str | Path) -> dict[str, Any]:
    """What it prints of a source that works."""
    found, error = attempt(*arguments)
    assert error is None
    return found


def fail(*arguments: str | Path) -> tuple[dict[str, Any], EavesError]:
    """What it prints of one that doesn't, and the error."""
    found, error = attempt(*arguments)
    assert error is not None
    return found, error


def names(folder: Path = Path()) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def write_project(**source: Any) -> None:
    values = {"name": "flowers", "site": "hall", "data": {"path": "photos"}, "sources": [{"name": "gate", **source}]}
    Path("eaves.yaml").write_text(yaml.safe_dump(values))


@contextmanager
def publishing(port: int, topic: str, body: bytes) -> Iterator[None]:
    stop = threading.Event()
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    publisher.connect("127.0.0.1", port)
    publisher.loop_start()

    def publish() -> None:
        while not stop.wait(0.1):
            publisher.publish(topic, body, qos=1)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        publisher.loop_stop()


def test_a_snapshot_is_shown_with_its_event_and_saved():
    body = picture()
    with open_camera(shows(body)) as camera:
        write_project(kind="http", url=f"{camera.url}/snap.jpg", max_side=160)
        result = eaves("sources", "try", "gate")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == f"source gate, kind http: {camera.url}/snap.jpg"
    assert lines[1] == "address 127.0.0.1"
    assert "saved gate.jpg" in lines
    assert "source /eaves/hall/gate" in lines
    assert "partitionkey gate" in lines
    assert "scaledto 160x120" in lines
    (image,) = [line for line in lines if line.startswith("image ")]
    assert re.fullmatch(r"image image/jpeg, 160x120, \d\.\d kB; brightness 1\d\d and contrast \d\d of 255", image)
    assert size_of("gate.jpg") == (160, 120)
    assert names() == ["eaves.yaml", "gate.jpg"]


def test_an_address_needs_no_project_and_no_file_is_replaced_unasked():
    Path("camera.jpg").write_text("a photo of somebody")
    with open_camera(shows(picture())) as camera:
        found = show(camera.url)
        assert found["saved"] == "camera-2.jpg"
        assert found["event"]["source"] == "/eaves/home/camera"
        assert Path("camera.jpg").read_text() == "a photo of somebody"
        assert eaves("sources", "try", camera.url, "--save", "camera.jpg").exit_code == 0
        assert size_of("camera.jpg") == (320, 240)
        Path("eaves.yaml").write_text("train: {arch: resnet}\n")
        result = eaves("sources", "try", camera.url)
    assert result.exit_code == 0, result.output
    assert "warning: eaves.yaml is not used, because it has faults" in result.stderr


def test_an_image_without_content_is_named_in_words():
    grey = (128, 128, 128)
    with open_camera(shows(picture((0, 0, 0), drawn=False))) as camera:
        assert "black" in show(camera.url)["picture"]["remark"]
        camera.answer = shows(picture(grey, drawn=False))
        assert "one colour" in show(camera.url)["picture"]["remark"]
        camera.answer = shows(picture())
        assert show(camera.url)["picture"]["remark"] == ""


def test_every_image_that_an_option_drops_is_counted_with_the_reason():
    with open_camera(shows(picture())) as camera:
        write_project(kind="http", url=camera.url, every_s=0.05, crop=[0, 0, 4000, 4000])
        result = eaves("sources", "try", "gate", "--timeout", "1")
    assert isinstance(result.exception, EavesError)
    assert result.exception.exit_code == 65
    assert re.search(r"gate dropped every image \(.*unsupported 1\); .*crop", result.exception.message)


def test_nobody_listens_and_a_name_that_nobody_has():
    found, error = fail(f"http://viewer:hunter2@127.0.0.1:{find_port()}/snap.jpg")
    assert error.exit_code == 69
    assert [(step["name"], step["passed"]) for step in found["steps"]] == [("address", True), ("connection", False)]
    assert "connection refused" in error.message
    assert found["place"].startswith("http://***@127.0.0.1")
    found, error = fail("http://camera.invalid/snap.jpg")
    assert error.exit_code == 69
    assert found["failure"]["message"] == "the name camera.invalid is not found"
    assert [step["name"] for step in found["steps"]] == ["address"]


def test_the_certificate_of_a_stranger_and_then_a_trusted_one(tmp_path: Path):
    certificate = make_certificate(tmp_path / "tls")
    with open_camera(shows(picture()), context=build_server_context(certificate)) as camera:
        found, error = fail(camera.url.replace("//", "//viewer:hunter2@"))
        assert camera.asked == []
        assert error.exit_code == 69
        assert found["steps"][-1]["name"] == "TLS"
        assert "is not trusted" in error.message
        assert "ca.crt" in (error.hint or "")
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (credentials / "ca.crt").write_bytes(certificate[0].read_bytes())
        found = show(camera.url, "--credentials", credentials)
    assert found["steps"][-1] == {"name": "TLS", "detail": "the certificate is trusted", "passed": True}


def test_a_wrong_password():
    with open_camera(lambda _: respond(401, WWW_Authenticate='Basic realm="x"')) as camera:
        _, missing = fail(camera.url)
        _, error = fail(camera.url.replace("//", "//viewer:hunter2@"))
    assert "no user name" in missing.message
    assert "--credentials" in (missing.hint or "")
    assert error.exit_code == 77
    assert "refuses the user name or the password" in error.message
    assert len(camera.asked) == 1 + 2  # a third wrong password would bring some cameras closer to locking the account


def test_a_password_in_the_path_comes_from_a_file_and_is_not_shown(tmp_path: Path):
    login = tmp_path / "login"
    login.mkdir()
    (login / "username").write_text("admin")
    (login / "password").write_text("hunter2")
    path = "user={username}_password={password}_channel=1"
    with open_camera(shows(picture())) as camera:
        assert show(f"{camera.url}/{path}.jpg", "--credentials", login)["event"]["subject"] == "camera"
        assert camera.asked[0].target == "/user=admin_password=hunter2_channel=1.jpg"
        camera.answer = lambda _: respond(404)
        _, error = fail(f"{camera.url}/{path}.jpg", "--credentials", login)
        assert f"{path}.jpg answers with status 404" in error.message
        fail(f"{camera.url}/user=admin_password=hunter2_channel=1.jpg")
    refused = eaves("sources", "try", f"rtsp://127.0.0.1:{find_port()}/user=admin_password=hunter2_channel=1")
    assert "write {username} and {password} there" in str(refused.exception)
    assert "hunter2" not in f"{refused.output} {refused.exception}"


def test_an_address_without_a_picture():
    for answer, code, message, hint in (
        (respond(404), 66, "status 404", "/cgi-bin/snapshot.cgi (Dahua)"),
        (respond(body=b"<html>", Content_Type="text/html"), 65, "text/html that is not an image", "browser"),
    ):
        with open_camera(lambda _, answer=answer: answer) as camera:  # type: ignore[misc]
            _, error = fail(camera.url)
        assert error.exit_code == code
        assert message in error.message
        assert hint in (error.hint or "")


def test_a_topic_with_images_and_one_without_messages(tmp_path: Path):
    with run_mosquitto(tmp_path / "broker", ["log_type all"]) as broker:
        with publishing(broker.port, "cameras/gate/image", picture()):
            found = show(f"{broker.url}/cameras/+/image")
            assert found["event"]["subject"] == "cameras/gate/image"
            write_project(kind="mqtt", url=broker.url, topics=["$share/eaves/cameras/+/image"], client_id="the-agent")
            show("gate")
        _, error = fail(f"{broker.url}/cameras/none", "--timeout", "1")
        log = broker.log.read_text()
    assert error.message == "no message came on cameras/none within 1 s"
    assert "the-agent" not in log  # a connection with the agent's name would throw the agent off
    assert "$share" not in log  # a member of the group would take messages from the agent
    assert "cameras/+/image (QoS 1)" in log
    assert "eaves-try-hall-gate-" in log


def test_a_folder_shows_its_oldest_image_and_copies_nothing(tmp_path: Path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, name in enumerate(("new.jpg", "old.jpg")):
        (inbox / name).write_bytes(picture())
        os.utime(inbox / name, (1_700_000_000 - number, 1_700_000_000 - number))
    found = show(inbox)
    assert found["event"]["subject"] == "old.jpg"
    assert found["saved"] is None
    assert names() == []
    assert names(inbox) == ["new.jpg", "old.jpg"]
    refused = eaves("sources", "try", inbox, "--save", inbox / "copy.jpg")
    assert "must not be in the folder that the source watches" in str(refused.exception)
    assert names(inbox) == ["new.jpg", "old.jpg"]


def test_a_folder_without_images_and_one_that_is_missing(tmp_path: Path):
    (tmp_path / "inbox").mkdir()
    _, error = fail(tmp_path / "inbox")
    assert error.message == f"the folder {tmp_path / 'inbox'} has no image"
    write_project(kind="folder", path=str(tmp_path / "missing"))
    _, error = fail("gate")
    assert error.exit_code == 66
    assert "No such file" in error.message


def test_a_bucket_is_only_listed(tmp_path: Path):
    with open_store() as store:
        keys = store.write_keys(tmp_path / "keys")
        store.client.put_object(Bucket="photos", Key="gate/1.jpg", Body=picture())
        shared = {"kind": "s3", "endpoint": store.endpoint, "region": REGION, "credentials": str(keys)}
        write_project(**shared, bucket="s3://photos/gate/")
        found = show("gate")
        assert found["event"]["subject"] == "1.jpg"
        listed = store.client.list_objects_v2(Bucket="photos")["Contents"]
        assert [one["Key"] for one in listed] == ["gate/1.jpg"]
        Path("eaves.yaml").unlink()
        write_project(**shared, bucket="s3://nobodys")
        _, missing = fail("gate")
        store.write_keys(keys, secret_key="wrong")
        _, refused = fail("gate")
    assert missing.exit_code == 66
    assert refused.exit_code == 77, refused
    assert "secret_key" in (refused.hint or "")


def test_a_recording_shows_its_first_image(tmp_path: Path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "1.jpg").write_bytes(picture())
    assert show(f"{{kind: replay, path: {tmp_path / 'day'}, every_s: 0.5}}")["event"]["subject"] == "1.jpg"


def test_a_text_that_is_no_source():
    write_project(kind="folder", path="inbox")
    for text, message in (
        ("gate2", "there is no source, folder or video named 'gate2'; eaves.yaml has the sources gate"),
        ("ftp://u:hunter2@cam/1", "NAME|URL: ftp:// isn't supported; a URL starts with rtsp://"),
        ("u:hunter2@192.168.1.20:554/1", "'192.168.1.20:554/1' has no protocol in front of it"),
        ("{kind: htp}", "NAME|URL: kind: there is no source kind 'htp'; did you mean http?"),
        ("mqtt://broker", "NAME|URL: topics: is required"),
    ):
        result = eaves("sources", "try", text)
        assert isinstance(result.exception, EavesError), result.output
        assert message in result.exception.message
        assert "hunter2" not in f"{result.output} {result.exception} {result.exception.hint}"
