"""`eaves relay audit` over real relays and receivers reports lost, forged and held back events, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import eaves
from eaves.cli import cli
from eaves.errors import EavesError
from eaves.local.state import LocalApp, LocalFunction
from eaves.options import print_error
from eaves.platform import RelaySpec, default_trigger
from eaves.spool import Spool
from tests.contract.harness import LocalHarness, open_local_harness
from tests.processes.receiving import TOKEN, ReceiverProcess, Sender, captured, classified, receiving, write_site
from tests.processes.relaying import RelayProcess
from tests.waiting import wait_until

SITE = "mill"
ROOT = Path(eaves.__file__).parents[1]
COUNT = 400


def run(*arguments: str | Path, code: int | None = 0, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """`eaves` in this process: each of its own would take a second to start, and its start is tested elsewhere."""
    reported = StringIO()
    result = CliRunner().invoke(cli, [*map(str, arguments)], input=text or "", prog_name="eaves")
    returncode = result.exit_code
    if isinstance(result.exception, EavesError):
        with redirect_stderr(reported):
            print_error(result.exception)
        returncode = result.exception.exit_code
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    done = subprocess.CompletedProcess(arguments, returncode, result.stdout, result.stderr + reported.getvalue())
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def make_credentials(folder: Path, token: str = TOKEN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    return folder


def post(relay: RelayProcess, first: int, count: int) -> None:
    for start in range(first, first + count, 50):
        assert relay.post_batch([classified(number, site=SITE) for number in range(start, start + 50)]) == 202


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[RelayProcess, ReceiverProcess]]:
    """A relay and a receiver as processes, through kills of both, at the end of which all is forwarded."""
    write_site(tmp_path / "sites", SITE)
    receiver = ReceiverProcess(tmp_path, EAVES_FOLDER=str(tmp_path / "received"))
    credentials = make_credentials(tmp_path / "link")
    relay = RelayProcess(
        tmp_path / "edge",
        f"http://127.0.0.1:{receiver.port}",
        EAVES_SITE=SITE,
        EAVES_CREDENTIALS=str(credentials),
    )
    relay.start()
    try:
        post(relay, 0, 100)
        receiver.start()
        post(relay, 100, 100)
        relay.end(signal.SIGKILL)
        receiver.stop(signal.SIGKILL)
        relay.start()
        post(relay, 150, 150)  # fifty of them once more: their answer may have got lost
        receiver.start()
        post(relay, 300, 100)
        wait_until(lambda: relay.link()["backlog_events"] == 0, 60, what="an empty relay")
        yield relay, receiver
    finally:
        relay.end()
        receiver.stop()


def write_lists(folder: Path, relay: RelayProcess, receiver: ReceiverProcess) -> tuple[Path, Path]:
    sent, received = folder / "sent.jsonl", folder / "received.jsonl"
    sent.write_text(run("relay", "ledger", "--spool", relay.spool).stdout)
    received.write_text(run("receiver", "ledger", "--spool", receiver.environ["EAVES_SPOOL"]).stdout)
    return sent, received


def test_kills_of_both_ends_lose_nothing_and_a_stranger_finds_the_same(
    ends: tuple[RelayProcess, ReceiverProcess], tmp_path: Path
) -> None:
    relay, receiver = ends
    sent, received = write_lists(tmp_path, relay, receiver)
    done = run("relay", "audit", "--sent", sent, "--received", received)
    assert f"nothing is missing: {COUNT} of {COUNT} events were received" in done.stderr
    found = json.loads(run("relay", "audit", "--sent", sent, "--received", received, "-o", "json").stdout)
    assert found["totals"]["sent"] == found["totals"]["received"] == COUNT
    assert found["passed"]
    address, link = f"http://127.0.0.1:{receiver.port}", tmp_path / "link"
    by_link = run("relay", "audit", "--sent", relay.spool, "--received", address, "--credentials", link, "-o", "json")
    assert json.loads(by_link.stdout)["totals"] == found["totals"], "the receiver tells the same over the link"
    files = [option for path in sorted((tmp_path / "received").glob("*.jsonl")) for option in ("--received", path)]
    by_files = json.loads(run("relay", "audit", "--sent", sent, *files, "-o", "json").stdout)
    assert by_files["totals"]["received"] == COUNT, "what was written at the end can be compared as well"
    assert strange(sent, received, tmp_path) == ("", "")


def strange(sent: Path, received: Path, folder: Path) -> tuple[str, str]:
    """What docs/link.md tells a stranger to do: ids in the first list only, and in the second only."""
    page = (ROOT / "docs" / "link.md").read_text()
    rest = page.partition("```bash\npairs()")[2]
    script = f"pairs(){rest.partition('```')[0]}"
    assert "comm" in script
    for path, name in ((sent, "sent.jsonl"), (received, "received.jsonl")):
        if path != folder / name:
            shutil.copyfile(path, folder / name)
    done = subprocess.run(["sh", "-ec", script], cwd=folder, capture_output=True, text=True, check=True)
    return (folder / "missing.txt").read_text(), (folder / "unknown.txt").read_text() + done.stderr


def test_an_event_that_one_list_lacks_is_named_and_the_command_fails(
    ends: tuple[RelayProcess, ReceiverProcess], tmp_path: Path
) -> None:
    relay, receiver = ends
    sent, received = write_lists(tmp_path, relay, receiver)
    lines = received.read_text().splitlines()
    (tmp_path / "fewer").mkdir()
    fewer = tmp_path / "fewer" / "received.jsonl"
    fewer.write_text("\n".join(line for line in lines if '"id-7"' not in line))
    done = run("relay", "audit", "--sent", sent, "--received", fewer, code=1)
    assert "missing: id-7 of /eaves/mill/flowers, line 8: released at the sender" in done.stderr
    assert "the lists don't agree: 1 missing, 0 unknown" in done.stderr
    missing, unknown = strange(sent, fewer, tmp_path / "fewer")
    assert "id-7" in missing
    assert unknown == ""
    done = run("relay", "audit", "--sent", "-", "--received", received, text="\n".join(lines[1:]), code=1)
    assert "unknown: id-0 of /eaves/mill/flowers" in done.stderr


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    with open_local_harness() as made:
        yield made


def wanted(artifact: Path, name: str, to: str, credentials: Path) -> LocalApp:
    function = LocalFunction(name=name, site=SITE, artifact=artifact)
    relay = RelaySpec(to=to, credentials=credentials)
    return LocalApp(function=function, triggers=(default_trigger(name),), relay=relay)


def test_the_relays_of_this_machine_and_their_receiver_are_asked(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
) -> None:
    state = ("--state", str(harness.state))
    with receiving(tmp_path) as cloud:
        credentials = make_credentials(tmp_path / "link")
        shutil.copyfile(tmp_path / "credentials" / "tls.crt", credentials / "ca.crt")
        to = f"https://127.0.0.1:{cloud.port}"
        for name in ("digits", "numbers"):
            harness.platform.deploy(wanted(tiny_artifact, name, to, credentials))
        image = next((tiny_artifact / "golden").glob("*.png")).read_bytes()

        def totals(*arguments: str, code: int = 0) -> dict[str, Any]:
            done = run("relay", "audit", *state, "-o", "json", *arguments, code=code)
            found: dict[str, Any] = json.loads(done.stdout)["totals"]
            return found

        def forwarded() -> int:
            agents = [agent for status in harness.platform.status() for agent in status.agents]
            return sum(agent.link.forwarded for agent in agents if agent.link)

        def publish(first: int, count: int) -> None:
            for number in range(first, first + count):
                harness.platform.publish(captured(number, site=SITE, data=image, kind="image/png"))

        publish(0, 5)
        wait_until(lambda: forwarded() == 10, 60, what="the predictions of two functions")
        assert totals() == {**totals(), "sent": 10, "received": 10, "missing": 0, "unknown": 0}
        assert totals("--app", "digits", code=1)["unknown"] == 5, "those are of the other relay"
        reported = run("status", *state).stdout
        assert re.search(r"^digits\.relay: link up for \d+ s; nothing waits$", reported, re.MULTILINE)
        lines = run("relay", "ledger", *state, "--app", "numbers").stdout.splitlines()
        assert {json.loads(line)["state"] for line in lines} == {"released"}
        assert len(lines) == 5
        assert "--app digits" in run("relay", "ledger", *state, code=None).stderr
        mine = tmp_path / "digits.jsonl"
        mine.write_text(run("relay", "ledger", *state, "--app", "digits").stdout)
        lists = ("--sent", str(mine), "--received", f"{to}/", "--credentials", str(credentials))
        done = run("relay", "audit", *state, "-o", "json", *lists, code=None)
        assert json.loads(done.stdout)["totals"]["received"] == 5
        with cloud.sender() as forger:
            forger.send([classified(1, site=SITE)])
        done = run("relay", "audit", *state, code=1)
        assert "unknown: id-1 of /eaves/mill/flowers" in done.stderr
    publish(5, 1)
    wait_until(lambda: waiting(harness) == 2, 60, what="two that wait")
    done = run("relay", "audit", *state, code=69)
    assert f"127.0.0.1:{cloud.port}" in done.stderr, "the receiver is away, and that is said"
    with Spool(tmp_path / "receiver.db") as spool:
        assert spool.ledger is not None
        assert len(spool.ledger.read()) == 11
    done = run("relay", "audit", *state, "--received", tmp_path / "receiver.db", "-o", "json", code=1)
    assert {name: json.loads(done.stdout)["totals"][name] for name in ("sent", "waiting", "missing", "unknown")} == {
        "sent": 12,
        "waiting": 2,
        "missing": 0,
        "unknown": 1,
    }
    harness.stop()
    done = run("relay", "audit", *state, "--received", tmp_path / "receiver.db", "-o", "json", code=1)
    assert json.loads(done.stdout)["totals"]["waiting"] == 2, "without a process the file is read"


def waiting(harness: LocalHarness) -> int:
    agents = [agent for status in harness.platform.status() for agent in status.agents]
    return sum(agent.link.backlog_events for agent in agents if agent.link)


@pytest.mark.parametrize(
    ("arguments", "code", "reported"),
    [
        (("--sent", "FOLDER/none.jsonl"), 65, "--sent needs --received, the list to compare with"),
        (("--sent", "FOLDER/text", "--received", "FOLDER/text"), 65, "line 1 can't be read"),
        (("--sent", "FOLDER/empty", "--received", "http://example.com"), 78, "must begin with https"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, reported: str) -> None:
    (tmp_path / "text").write_text("no list\n")
    (tmp_path / "empty").touch()
    done = run("relay", "audit", *(argument.replace("FOLDER", str(tmp_path)) for argument in arguments), code=code)
    assert reported in done.stderr
    assert "Traceback" not in done.stderr


def write_list(path: Path, *lines: dict[str, object]) -> Path:
    event = {"source": "/eaves/mill/flowers", "repeats": 0, "state": "released"}
    path.write_text("".join(f"{json.dumps({**event, **line})}\n" for line in lines))
    return path


AT = 1_764_072_000.0
"""2025-11-25T12:00:00Z."""
KEPT = {"number": 7, "id": "id-7", "at": AT, "deleted": 6}


@pytest.mark.parametrize(
    ("sent", "received", "code", "reported"),
    [
        ([], [], 66, "nothing to compare: both lists are empty"),
        (
            [KEPT, {"number": 8, "id": "id-8", "state": "queued"}],
            [{"id": "id-7"}],
            0,
            "1 of 2 events were received; 1 wait",
        ),
        (
            [{**KEPT, "state": "dead", "reason": "answered 403"}],
            [],
            3,
            "0 of 1 events were received; 1 is a dead letter",
        ),
        (
            [KEPT],
            [{"id": "id-7", "state": "dead", "reason": "answered 400"}],
            3,
            "1 were not delivered by",
        ),
        (
            [{**KEPT, "deleted": 5}],
            [{"id": "id-7"}],
            1,
            "the lists don't agree: 0 missing, 0 unknown, 1 without a line",
        ),
        ([KEPT], [{"id": "id-7"}], 0, "covers the relay's lines from 2025-11-25T12:00:00Z on; it has deleted 6"),
        (
            [KEPT],
            [{"id": "id-7"}, {"id": "id-8", "at": AT + 9}],
            0,
            "1 of 1 events were received; 1 newer ones are not check",
        ),
    ],
)
def test_how_an_audit_ends_tells_what_it_found(
    tmp_path: Path, sent: list[dict[str, object]], received: list[dict[str, object]], code: int, reported: str
) -> None:
    lists = (write_list(tmp_path / "sent", *sent), write_list(tmp_path / "received", *received))
    done = run("relay", "audit", "--sent", lists[0], "--received", lists[1], "-o", "json", code=code)
    assert reported in done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] == (code == 0)
    if sent and sent[0]["deleted"] == 6:
        assert (found["deleted"], found["covers_from"]) == (6, AT)


def test_a_sender_by_hand_is_audited_too(tmp_path: Path) -> None:
    """Any client may send batches: its own list of source and id is enough."""
    with receiving(tmp_path, tls=False) as cloud, Sender(cloud.port) as sender:
        events = [classified(number, site=SITE) for number in range(3)]
        sender.send(events)
        sender.send(events[:1])
        sent = tmp_path / "mine.jsonl"
        sent.write_text("\n".join(json.dumps({"source": event.source, "id": event.id}) for event in events))
        link = make_credentials(tmp_path / "link")
        address = f"http://127.0.0.1:{cloud.port}"
        done = run("relay", "audit", "--sent", sent, "--received", address, "--credentials", link, "-o", "json")
    totals = json.loads(done.stdout)["totals"]
    assert (totals["sent"], totals["received"], totals["repeated"]) == (3, 3, 1)
