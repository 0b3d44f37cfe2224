"""The reader of a run serves the run's own files, in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

from trainer.reader import RunServer
from trainer.storage import open_store


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[RunServer]:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model/weights 1.bin").write_bytes(bytes(range(256)))
    (run / "stray").write_text("not the run's")
    (tmp_path / "secret").write_text("beside it")
    (run / "run.json").write_text(json.dumps({"files": {"model/weights 1.bin": {}, "../secret": {}, "lost": {}}}))
    with RunServer(0, open_store(run)) as server:
        yield server


def ask(reader: RunServer, name: str, *, start: str = "0", size: str = "1000") -> tuple[int, bytes]:
    status, body = reader.read(f"/{name}?start={start}&size={size}")
    return int(status), body


def test_a_file_comes_in_pieces(reader: RunServer) -> None:
    whole = bytes(range(256))
    assert ask(reader, "model/weights%201.bin") == (200, whole)
    assert ask(reader, "model/weights%201.bin", start="250", size="4") == (200, whole[250:254])
    assert ask(reader, "model/weights%201.bin", start="250", size="100") == (200, whole[250:])
    assert ask(reader, "run.json")[0] == HTTPStatus.OK


def test_only_a_port_forward_leads_to_it(reader: RunServer) -> None:
    assert reader.server_address[0] == "127.0.0.1"
    thread = Thread(target=reader.serve_forever, args=(0.01,))
    thread.start()
    connection = HTTPConnection("127.0.0.1", reader.server_address[1])
    try:
        connection.request("GET", "/run.json?start=0&size=1")
        assert connection.getresponse().read() == b"{"
    finally:
        connection.close()
        reader.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["stray", "lost", "../secret/x"])
def test_what_the_run_does_not_name_is_not_there(reader: RunServer, name: str) -> None:
    assert ask(reader, name)[0] == HTTPStatus.NOT_FOUND
