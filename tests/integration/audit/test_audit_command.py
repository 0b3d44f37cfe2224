"""`eaves relay audit` over real relays and receivers reports lost, forged and held back events, and nothing else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import eaves
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import RelaySpec, default_trigger
from eaves.spool import Spool
from tests.cli import run_eaves
from tests.contract.harness import LocalHarness
from tests.processes.receiving import TOKEN, Sender, captured, classified, receiving
from tests.waiting import wait_until

SITE = "mill"
ROOT = Path(eaves.__file__).parents[1]
COUNT = 400


def make_credentials(folder: Path, token: str = TOKEN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    return folder


def wanted(artifact: Path, name: str, to: str, credentials: Path) -> LocalApp:
    function = LocalFunction(name=name, site=SITE, artifact=artifact)
    relay = RelaySpec(to=to, credentials=credentials)
    return LocalApp(function=function, triggers=(default_trigger(name),), relay=relay)


@pytest.mark.long("links are cut while events are sent")
def test_the_relays_of_this_machine_and_their_receiver_are_asked(
    harness: LocalHarness, tiny_artifact: Path, tmp_path: Path
):
    state = ("--state", str(harness.state))
    with receiving(tmp_path) as cloud:
        credentials = make_credentials(tmp_path / "link")
        shutil.copyfile(tmp_path / "credentials" / "tls.crt", credentials / "ca.crt")
        to = f"https://127.0.0.1:{cloud.port}"
        for name in ("digits", "numbers"):
            harness.platform.deploy(wanted(tiny_artifact, name, to, credentials))
        image = next((tiny_artifact / "golden").glob("*.png")).read_bytes()

        def totals(*arguments: str, code: int = 0) -> dict[str, Any]:
            done = run_eaves("relay", "audit", *state, "-o", "json", *arguments, code=code)
            found: dict[str, Any] = json.loads(done.stdout)["totals"]
            return found

        def forwarded() -> int:
            agents = [agent for status in harness.platform.status() for agent in status.agents]
            return sum(agent.link.forwarded for agent in agents if agent.link)

        def publish(first: int, count: int) -> None:
            for number in range(first, first + count):
                harness.platform.publish(captured(number, site=SITE, data=image, kind="image/png"))

        publish(0, 5)
        wait_until(lambda: forwarded() >= 10, 60, what="the predictions of two functions")
        assert totals() == {**totals(), "sent": 10, "received": 10, "missing": 0, "unknown": 0}
        assert totals("--app", "digits", code=1)["unknown"] == 5, "those are of the other relay"
        reported = run_eaves("status", *state).stdout
        assert re.search(r"^digits\.relay: link up for \d+ s; nothing waits$", reported, re.MULTILINE)
        lines = run_eaves("relay", "ledger", *state, "--app", "numbers").stdout.splitlines()
        assert {json.loads(line)["state"] for line in lines} == {"released"}
        assert len(lines) == 5
        assert "--app digits" in run_eaves("relay", "ledger", *state, code=None).stderr
        mine = tmp_path / "digits.jsonl"
        mine.write_text(run_eaves("relay", "ledger", *state, "--app", "digits").stdout)
        lists = ("--sent", str(mine), "--received", f"{to}/", "--credentials", str(credentials))
        done = run_eaves("relay", "audit", *state, "-o", "json", *lists, code=None)
        assert json.loads(done.stdout)["totals"]["received"] == 5
        with cloud.sender() as forger:
            forger.send([classified(1, site=SITE)])
        done = run_eaves("relay", "audit", *state, code=1)
        assert "unknown: id-1 of /eaves/mill/flowers" in done.stderr
    publish(5, 1)
    wait_until(lambda: waiting(harness) == 2, 60, what="two that wait")
    done = run_eaves("relay", "audit", *state, code=69)
    assert f"127.0.0.1:{cloud.port}" in done.stderr, "the receiver is away, and that is said"
    with Spool(tmp_path / "receiver.db") as spool:
        assert spool.ledger is not None
        assert len(spool.ledger.read()) == 11
    done = run_eaves("relay", "audit", *state, "--received", tmp_path / "receiver.db", "-o", "json", code=1)
    assert {name: json.loads(done.stdout)["totals"][name] for name in ("sent", "waiting", "missing", "unknown")} == {
        "sent": 12,
        "waiting": 2,
        "missing": 0,
        "unknown": 1,
    }
    harness.stop()
    done = run_eaves("relay", "audit", *state, "--received", tmp_path / "receiver.db", "-o", "json", code=1)
    assert json.loads(done.stdout)["totals"]["waiting"] == 2, "without a process the file is read"


def waiting(harness: LocalHarness) -> int:
    agents = [agent for status in harness.platform.status() for agent in status.agents]
    return sum(agent.link.backlog_events for agent in agents if agent.link)


def test_what_cannot_be_compared_is_said(tmp_path: Path):
    (tmp_path / "text").write_text("no list\n")
    (tmp_path / "empty").touch()
    for sent, others, code, reported in (
        ("none.jsonl", (), 65, "--sent needs --received, the list to compare with"),
        ("text", ("--received", tmp_path / "text"), 65, "line 1 can't be read"),
        ("empty", ("--received", "http://example.com"), 78, "must begin with https"),
    ):
        assert reported in run_eaves("relay", "audit", "--sent", tmp_path / sent, *others, code=code).stderr


def write_list(path: Path, *lines: dict[str, object]) -> Path:
    event = {"source": "/eaves/mill/flowers", "repeats": 0, "state": "released"}
    path.write_text("".join(f"{json.dumps({**event, **line})}\n" for line in lines))
    return path


AT = 1_764_072_000.0
"""2025-11-25T12:00:00Z."""
KEPT = {"number": 7, "id": "id-7", "at": AT, "deleted": 6}


Lines = list[dict[str, object]]
AUDITS: list[tuple[Lines, Lines, int, str]] = [
    ([], [], 66, "nothing to compare: both lists are empty"),
    ([KEPT], [], 1, "missing: id-7 of /eaves/mill/flowers, line 7: released at the sender"),
    ([KEPT], [{"id": "id-7"}, {"id": "id-9", "at": AT}], 1, "unknown: id-9 of /eaves/mill/flowers"),
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
]


def test_how_an_audit_ends_tells_what_it_found(tmp_path: Path):
    for sent, received, code, reported in AUDITS:
        lists = (write_list(tmp_path / "sent", *sent), write_list(tmp_path / "received", *received))
        done = run_eaves("relay", "audit", "--sent", lists[0], "--received", lists[1], "-o", "json", code=code)
        assert reported in done.stderr
        found = json.loads(done.stdout)
        assert found["passed"] == (code == 0)
        if sent and sent[0]["deleted"] == 6:
            assert (found["deleted"], found["covers_from"]) == (6, AT)


def test_a_sender_by_hand_is_audited_too(tmp_path: Path):
    """Any client may send batches: its own list of source and id is enough."""
    with receiving(tmp_path, tls=False) as cloud, Sender(cloud.port) as sender:
        events = [classified(number, site=SITE) for number in range(3)]
        sender.send(events)
        sender.send(events[:1])
        sent = tmp_path / "mine.jsonl"
        sent.write_text("\n".join(json.dumps({"source": event.source, "id": event.id}) for event in events))
        link = make_credentials(tmp_path / "link")
        address = f"http://127.0.0.1:{cloud.port}"
        done = run_eaves("relay", "audit", "--sent", sent, "--received", address, "--credentials", link, "-o", "json")
    totals = json.loads(done.stdout)["totals"]
    assert (totals["sent"], totals["received"], totals["repeated"]) == (3, 3, 1)
