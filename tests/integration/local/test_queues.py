"""`eaves queue` and `eaves status` on a real `eaves up`: the broker's queue and that of an agent."""

import json
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from eaves.events import IMAGE_CAPTURED, Event
from eaves.platform import SourceSpec
from tests.cli import run_eaves
from tests.contract.harness import LocalHarness, status_of
from tests.integration.local.apps import digits_app
from tests.processes.agents import PNG
from tests.waiting import wait_until

LANE = "trigger/digits/digits"


def publish(harness: LocalHarness, *names: str) -> None:
    """Hand over files that are no images, whatever they are called."""
    for name in names:
        event = Event(
            id=name, source="/eaves/test/x", type=IMAGE_CAPTURED, subject=name, datacontenttype="image/png", data=b"x"
        )
        harness.platform.publish(event)


def run(harness: LocalHarness, *words: str, code: int = 0) -> CompletedProcess[str]:
    return run_eaves(*words, "--state", str(harness.state), code=code)


def listed(harness: LocalHarness, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(harness, "queue", "-o", "json", *arguments).stdout)
    return found


def test_dead_letters_are_listed_shown_retried_and_dropped(harness: LocalHarness, tiny_artifact: Path, tmp_path: Path):
    harness.start()
    harness.platform.deploy(digits_app(tiny_artifact))
    publish(harness, "a.png", "b.png")
    wait_until(lambda: status_of(harness.platform).dead == 2, 60, what="two dead letters")
    first, second = listed(harness)
    assert [first["state"], first["status"], first["lane"]] == ["dead", 422, LANE]
    assert "not an image" in first["reason"]
    number = str(first["seq"])
    shown = run(harness, "queue", "show", number, "--save", str(tmp_path / "a.bin"), "-o", "json")
    assert json.loads(shown.stdout)["attributes"]["subject"] == "a.png"
    assert (tmp_path / "a.bin").read_bytes() == b"x"
    assert run(harness, "queue", "drop", number, "--yes").stderr == "1 entry deleted\n"
    assert [entry["seq"] for entry in listed(harness)] == [second["seq"]]
    assert run(harness, "queue", "retry", "--dead").stderr == "1 entry queued again\n"
    wait_until(lambda: status_of(harness.platform).dead == 1, 60, what="the dead letter again")


def test_a_function_that_can_not_start_shows_why_its_queue_waits_and_the_queue_can_be_purged(
    harness: LocalHarness, tmp_path: Path
):
    harness.start()
    harness.platform.deploy(digits_app(tmp_path / "no such artifact"))
    publish(harness, "a.png", "b.png")
    wait_until(lambda: status_of(harness.platform).pauses, 60, what="the pause")
    (pause,) = status_of(harness.platform).pauses
    assert pause.lane == LANE
    assert "no such artifact" in pause.reason
    shown = run(harness, "status")
    assert "Trigger digits" in shown.stdout
    assert "is paused" not in shown.stderr, "the reason is said once"
    asked = run(harness, "queue", "purge", LANE, code=2)
    assert "Delete 2 entries (" in asked.stderr
    assert run(harness, "queue", "purge", LANE, "--yes").stderr == "2 entries deleted\n"
    assert listed(harness) == []


def test_an_agents_queue_is_seen_in_status_and_mended_by_name(harness: LocalHarness, tmp_path: Path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    harness.start()
    harness.platform.deploy(
        digits_app(tmp_path / "no such artifact", SourceSpec(name="inbox", options={"path": str(inbox)}))
    )

    def state() -> str:
        agents = status_of(harness.platform).agents
        return agents[0].sources[0].state if agents else ""

    wait_until(lambda: state() == "watching", 60, what="the agent")
    (inbox / "a.png").write_bytes(PNG)
    wait_until(lambda: status_of(harness.platform).agents[0].sources[0].captured == 1, 60, what="the image")
    assert "digits.inbox" in run(harness, "status").stdout
    usage = run(harness, "status", "--usage").stdout.split()
    assert usage[:4] == ["FUNCTION", "ANSWERED", "REPLICAS", "CPU"]
    assert usage[usage.index("digits") + 1] == "0"
    assert status_of(harness.platform).total_usage.memory_bytes > 10_000_000, "the agent's"
    (waiting,) = wait_until(lambda: listed(harness, "--agent", "digits"), 60, what="the image, which no function takes")
    assert (waiting["state"], waiting["subject"]) == ("queued", "a.png")
    assert [(one["agent"], one["seq"]) for one in listed(harness)] == [("digits", waiting["seq"])]
    assert "QUEUE OF" in run(harness, "queue").stdout
    run(harness, "queue", "purge", "sink", "--yes", "--agent", "digits")
    wait_until(lambda: listed(harness, "--agent", "digits") == [], 60, what="an empty queue")
    assert "captured a.png" in run(harness, "logs", "digits.inbox").stdout
    assert "there is no queue" in run(harness, "queue", "--agent", "digits.other", code=66).stderr


def test_the_queue_is_counted_while_nothing_runs_and_with_the_dead_letters_of_a_removed_trigger(
    harness: LocalHarness, tmp_path: Path
):
    app = digits_app(tmp_path / "no such artifact")
    harness.start()
    harness.platform.deploy(replace(app, triggers=(*app.triggers, replace(app.triggers[0], name="second"))))
    publish(harness, "a.png", "b.png")
    assert status_of(harness.platform).queued == 4
    harness.platform.deploy(app)
    wait_until(lambda: len(listed(harness, "--dead")) == 2, 60, what="the dead letters of the removed trigger")
    assert (status_of(harness.platform).queued, status_of(harness.platform).dead) == (2, 2)
    harness.stop()
    (shown,) = json.loads(run(harness, "status", "-o", "json").stdout)
    assert (shown["state"], shown["queued"], shown["dead"]) == ("stopped", 2, 2)
    assert "dead letters are kept" in run(harness, "status").stderr
