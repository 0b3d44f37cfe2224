"""`eaves receiver`: a receiver on a laptop, in the foreground, and the tokens of its sites."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eaves
from tests.cli import EAVES, run_eaves
from tests.ports import find_port
from tests.processes.receiving import Sender, classified
from tests.waiting import wait_until

ROOT = Path(eaves.__file__).parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, code: int = 0) -> tuple[str, str]:
    done = run_eaves(*words, code=code)
    return done.stdout, done.stderr


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`eaves receiver run` on a free port; its process and the port."""
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PORT": str(find_port())}
    command, pipe = [*EAVES, "receiver", "run", *arguments], subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=own, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), process.stderr.read() if process.stderr else ""
            yield process, int(url.rpartition(":")[2])
        finally:
            process.kill()


def token_of(folder: Path, site: str) -> str:
    return (folder / "sites" / site).read_text().splitlines()[-1]


def test_a_receiver_writes_what_a_site_with_a_token_sends_and_ends_on_ctrl_c(tmp_path: Path):
    out, reported = run("receiver", "token", "mill")
    assert out == "sites/mill\n"
    assert "mill-link" in reported
    token = token_of(tmp_path, "mill")
    assert token not in out + reported, "a token that is shown stays in a terminal's memory"
    assert stat.S_IMODE((tmp_path / "sites" / "mill").stat().st_mode) == 0o600
    with running(tmp_path) as (process, port):
        with Sender(port, token="wrong-0123456789abcdef") as stranger:
            assert stranger.try_send([classified(9)])[0] == 401
        with Sender(port, token=token) as sender:
            assert sender.send([classified(1), classified(2)]).stored == 2
        wait_until(lambda: len(written(tmp_path)) == 2, 30, what="two lines in the folder")
        lines = run("receiver", "ledger", "--site", "mill")[0].splitlines()
        assert [json.loads(line)["id"] for line in lines] == ["id-1", "id-2"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    lines = run("receiver", "ledger")[0].splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["released", "released"]


def test_a_receiver_tells_its_sites_and_why_events_wait(tmp_path: Path):
    assert "eaves receiver run" in run("receiver", "status", code=69)[1]
    for site in ("mill", "harbour", "castle"):
        run("receiver", "token", site)
    shared = (tmp_path / "sites" / "harbour").read_text()
    with running(tmp_path, "--state", "other") as (_, _):
        (tmp_path / "sites" / "castle").write_text(shared)
        with running(tmp_path) as (process, port):
            with Sender(port, token=token_of(tmp_path, "mill")) as sender:
                assert sender.send([classified(1), classified(2)]).stored == 2
                assert sender.send([classified(2)]).repeated == 1
                assert sender.send([classified(3, site="harbour")]).refused
            with Sender(port, token=shared.strip()) as stranger:
                assert stranger.try_send([classified(9)])[0] == 401
            out, reported = run("receiver", "status")
            table = [line.split() for line in out.splitlines()]
            assert ["s", "ago", "2", "1", "forged", "1"] in [cells[2:] for cells in table if cells[:1] == ["mill"]]
            assert ["harbour", "not", "since", "the", "start", "0", "0"] in table
            assert ["(unknown)", "0", "0", "unauthorised", "1"] in table
            assert "2 events (" in out
            assert ") wait for the folder received, oldest " in out
            assert "paused: another process holds received/.lease; this one waits until that one has ended" in out
            assert "the sites castle and harbour have the same token" in reported
            found = json.loads(run("receiver", "status", "-o", "json")[0])
            assert found["status"] == "unwell"
            assert found["shared_tokens"] == [["castle", "harbour"]]
            waiting = json.loads(run("queue", "--receiver", "-o", "json")[0])
            assert [entry["lane"] for entry in waiting] == ["sink", "sink"]
            process.kill()
            assert process.stderr is not None
            log = process.stderr.read()
            assert "sites/castle, sites/harbour have the same token" in log
            assert "another process holds received/.lease" in log
    assert len(json.loads(run("queue", "list", "--receiver", "-o", "json")[0])) == 2


def written(folder: Path) -> list[str]:
    return [line for path in (folder / "received").glob("*.jsonl") for line in path.read_text().splitlines()]


def test_a_token_is_changed_without_a_moment_in_which_none_works(tmp_path: Path):
    run("receiver", "token", "mill")
    first = token_of(tmp_path, "mill")
    with running(tmp_path) as (_, port):

        def status(token: str) -> int:
            with Sender(port, token=token) as sender:
                return sender.ask("GET", "/v1/site")[0]

        assert "add another token with --keep" in run("receiver", "token", "mill", code=65)[1]
        run("receiver", "token", "mill", "--keep")
        second = token_of(tmp_path, "mill")
        assert first != second
        wait_until(lambda: status(second) == 200, 30, what="the new token")
        assert status(first) == 200
        run("receiver", "token", "mill", "--replace")
        third = token_of(tmp_path, "mill")
        wait_until(lambda: status(third) == 200, 30, what="the last token")
        assert status(first) == status(second) == 401


def test_a_site_has_a_name_that_it_can_have(tmp_path: Path):
    for site in ("Mill", "../mill"):
        assert "must be 1-40 characters" in run("receiver", "token", "--", site, code=78)[1]
    assert not (tmp_path / "sites").exists()
