"""`eaves init --from-source`: what is collected is, byte for byte, what an agent would send."""

import itertools
import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from eaves.cli.project import load_workspace
from eaves.errors import ConfigError
from eaves.images.pixels import decode
from tests.cli import EAVES, eaves
from tests.contract.sinks import open_sink
from tests.fakes.http.camera import Asked, FakeCamera, open_camera, respond
from tests.inputs.hostile import encode
from tests.processes.agents import AgentProcess
from tests.processes.commands import run_command
from tests.waiting import wait_until


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), "JPEG")


def numbered() -> Callable[[Asked], bytes]:
    numbers = itertools.count()
    return lambda _: respond(body=picture(next(numbers)))


def collected(project: Path) -> list[Path]:
    return sorted((project / "photos-unsorted").glob("*.*"))


def init(project: Path, camera: FakeCamera, images: int, *more: str) -> Result:
    every = ("--every", "0.05", "--images", str(images), "--crop", "0.2,0.1,0.6,0.8")
    source = f"{{kind: http, url: {camera.url}/snap.jpg, max_side: 50}}"
    return eaves("init", project, "--name", "gate", "--from-source", source, *every, *more)


def test_what_is_collected_is_what_an_agent_sends(tmp_path: Path):
    project = tmp_path / "gate"
    with open_camera(numbered()) as camera:
        result = init(project, camera, 4)
        assert result.exit_code == 0, result.output
        assert "move the images in photos-unsorted into one folder for each class, photos/CLASS/" in result.stderr
        workspace = load_workspace(project / "eaves.yaml")
        (source,) = workspace.project.sources
        assert source.settings == {
            "name": "camera",
            "kind": "http",
            "url": f"{camera.url}/snap.jpg",
            "every_s": "0.05",
            "crop": "0.2,0.1,0.6,0.8",
            "max_side": "50",
        }
        assert "4 of 4 images collected\n" in result.stderr
        assert result.stderr.endswith(f"these paths are relative to the project: cd {project}\n")
        files = collected(project)
        assert len(files) == 4
        assert all(re.fullmatch(r"\d{8}T\d{9}Z-[0-9a-f]{16}\.jpg", file.name) for file in files)
        assert decode(files[0].read_bytes()).shape == (50, 50, 3)
        camera.answer = numbered()
        with open_sink() as sink:
            agent = AgentProcess(tmp_path / "agent", sink.url, EAVES_SOURCES=json.dumps([source.settings]))
            agent.start()
            try:
                wait_until(lambda: len(sink.received) >= 6, 60)  # two deliveries at a time: not in order
            finally:
                agent.stop()
        assert {file.read_bytes() for file in files} <= {event.data for event in sink.received}
        assert sink.received[0].extensions["crop"] == "24,9,72,72"


def test_ctrl_c_stops_and_the_same_command_continues(tmp_path: Path):
    with open_camera(numbered()) as camera:
        command = [*EAVES, "init", str(tmp_path), "--name", "gate"]
        command += ["--from-source", camera.url, "--every", "0.05", "--images"]
        process = subprocess.Popen([*command, "100000"], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(collected(tmp_path)) >= 3, 60)
        process.send_signal(signal.SIGINT)
        _, reported = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGINT, reported
        assert "of 100000 images are in" in reported
        assert "run the same command again to collect the other images" in reported
        before = collected(tmp_path)
        (tmp_path / "photos" / "open").mkdir(parents=True)
        before[0].rename(tmp_path / "photos" / "open" / before[0].name)  # sorted meanwhile, and still counted
        wanted = len(before) + 3
        done = run_command([*command, str(wanted)], timeout=60)
        assert done.returncode == 0, done.stderr
        assert len(collected(tmp_path)) == wanted - 1
        assert set(before[1:]) < set(collected(tmp_path))
        again = run_command([*command, str(wanted)], timeout=60)
        assert again.returncode == 0, again.stderr
        assert len(collected(tmp_path)) == wanted - 1


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_source_may_be_a_file_or_a_folder(form: str, tmp_path: Path):
    inbox, project = tmp_path / "inbox", tmp_path / "project"
    inbox.mkdir()
    for number in range(3):
        (inbox / f"{number}.jpg").write_bytes(picture(number))
    file = tmp_path / "source.yaml"
    file.write_text(f"{{name: belt, kind: replay, path: {inbox}, every_s: 0, crop: [0, 0, 60, 90]}}")
    result = eaves("init", project, "--from-source", file if form == "file" else inbox, "--images", "3")
    assert result.exit_code == 0, result.output
    assert len(collected(project)) == 3
    (source,) = load_workspace(project / "eaves.yaml").project.sources
    assert (source.name, source.kind) == (("camera", "folder") if form == "folder" else ("belt", "replay"))


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("--from-source", "http://cam/", "--crop", "1,2"), "--from-source: crop: must be left, top, width, height"),
        (("--from-source", "{kind: htp}"), "did you mean http?"),
        (("--from-source", "nothing"), "must be a URL, a folder, a video, a .yaml file, or a mapping"),
        (("--from-source", "ftp://admin:hun/ter2@cam/1"), "ftp:// isn't supported; a URL starts with rtsp://"),
        (
            ("--from-source", "{url: http://admin:hunter2@cam/"),
            "must be a URL, a folder, a video, a .yaml file, or a mapping",
        ),
        (("--from-source", "http://cam/", "--data", "https://u:hunter2@host/a"), "must be a folder here"),
        (("--crop", "0,0,1,1"), "--crop: has no effect without --from-source"),
    ],
)
def test_a_source_that_is_wrong_writes_nothing(arguments: tuple[str, ...], reported: str, tmp_path: Path):
    result = eaves("init", tmp_path / "project", "--name", "gate", *arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert reported in str(result.exception)
    assert "hun" not in f"{result.exception} {result.exception.hint}"
    assert not (tmp_path / "project").exists()


def test_another_source_replaces_no_file(tmp_path: Path):
    with open_camera(numbered()) as camera:
        assert init(tmp_path, camera, 1).exit_code == 0
        other = init(tmp_path, camera, 1, "--crop", "0,0,1,1")
        assert "already exists" in str(other.exception)
        assert init(tmp_path, camera, 1, "--crop", "0,0,1,1", "--force").exit_code == 0


def test_a_password_in_the_address_is_warned_of(tmp_path: Path):
    def answer(asked: Asked) -> bytes:
        return respond(body=picture(0)) if "authorization" in asked.headers else respond(401, WWW_Authenticate="Basic")

    with open_camera(answer) as camera:
        url = camera.url.replace("//", "//viewer:hunter2@")
        result = eaves("init", tmp_path, "--name", "gate", "--from-source", url, "--images", "1")
    assert result.exit_code == 0, result.output
    assert "holds a password or token" in result.stderr
    assert "hunter2" not in result.stderr
    assert (tmp_path / "eaves.yaml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [".", "../elsewhere"])
def test_images_that_wait_to_be_sorted_are_no_class(data: str, tmp_path: Path):
    """They are outside the labelled folder, wherever that is."""
    project = tmp_path / "project"
    with open_camera(numbered()) as camera:
        assert init(project, camera, 1, "--data", data).exit_code == 0
    (image,) = tmp_path.rglob("*.jpg")
    labelled = (project / data).resolve()
    assert image.parent == labelled.with_name(f"{labelled.name}-unsorted")
