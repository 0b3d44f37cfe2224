"""Each process that reads settings from its environment warns once of a misspelt variable, and does its work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import eaves
from tests.ports import find_port
from tests.processes.function import Start
from tests.waiting import wait_until

TYPO = "EAVES_LOG_JSNO"
SAID = f"{TYPO} is not read by any part of Eaves; did you mean EAVES_LOG_JSON?"


class Started:
    """A process in a folder of its own, with nothing but the variables that the test gives."""

    def __init__(self, folder: Path, command: Sequence[str], **environ: str) -> None:
        self.output = folder / "output"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", *command],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(Path(eaves.__file__).parents[1]), **environ},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    def count(self, text: str) -> int:
        return self.output.read_text().count(text)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


COMMANDS = {
    "agent": ("eaves.sources",),
    "publisher": ("eaves.publisher",),
    "relay": ("eaves.relay",),
    "receiver": ("eaves.receiver",),
    "trainer": ("trainer", "--path", "nowhere", "--output", "run"),
    "converters": ("converters", "nowhere.onnx", "--output", "artifact"),
    "reader": ("trainer.reader", "run", "--port", "PORT"),
    "command line": ("eaves.cli", "status"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_warns_of_a_variable_that_it_does_not_read(name: str, tmp_path: Path) -> None:
    port = str(find_port())
    environ = {
        "EAVES_HOST": "127.0.0.1",
        "EAVES_HEALTH_PORT": str(find_port()),
        "EAVES_FOLDER": "received",
        "EAVES_SITES": "sites",
        "EAVES_SOURCES": '[{"name": "inbox", "kind": "folder", "path": "inbox"}]',
        "EAVES_TO": "http://127.0.0.1:9/",
        "EAVES_URL": "mqtt://127.0.0.1:9/plant",
        "EAVES_READER_TOKEN": "a token of many letters",
        "K_SINK": "http://127.0.0.1:9/",
        "PORT": port,
        "EAVES_PORT": "0",
    }
    if name == "receiver":
        del environ["K_SINK"]
    (tmp_path / "inbox").mkdir()
    (tmp_path / "sites").mkdir()
    command = [port if word == "PORT" else word for word in COMMANDS[name]]
    process = Started(tmp_path, command, **environ, **{TYPO: "0"})
    try:
        wait_until(lambda: process.count(SAID) or process.process.poll() is not None, 60, what="the warning")
        assert process.count(SAID) == 1, process.output.read_text()
        assert process.count("is not read by any part of Eaves") == 1, "variables of the other processes are no fault"
    finally:
        process.stop()


def test_a_function_warns_once_and_serves(start: Start, image: bytes) -> None:
    function = start(**{TYPO: "0", "EAVES_TOP_K": "2"})
    function.wait_ready()
    status, _, body = function.request("POST", "/", image, Content_Type="image/png")
    assert status == 200
    assert body.count(b'"label"') == 2
    assert function.log.count(SAID) == 1
