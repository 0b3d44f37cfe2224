"""`eaves status` names a trigger and a source in trouble, with the reason and since when, and the log says it once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from eaves.cli import cli
from eaves.events import IMAGE_CAPTURED, Event
from eaves.platform import SourceSpec, TriggerSpec
from tests.contract.harness import LocalHarness, status_of
from tests.integration.local.apps import digits_app
from tests.ports import find_port
from tests.waiting import wait_until


def test_a_trigger_whose_address_is_down_and_a_source_without_its_folder_are_named(
    harness: LocalHarness, tmp_path: Path
) -> None:
    harness.start()
    app = digits_app(tmp_path / "none", SourceSpec(name="inbox", options={"path": str(tmp_path / "gone")}))
    alarm = TriggerSpec(name="alarm", filter={"type": IMAGE_CAPTURED}, url=f"http://127.0.0.1:{find_port()}/")
    harness.platform.deploy(replace(app, triggers=(alarm,)))
    harness.platform.publish(Event(id="1", source="/eaves/test/x", type=IMAGE_CAPTURED, data=b"x"))

    def reasons() -> dict[str, str]:
        return {part.title: part.reason for part in status_of(harness.platform).parts if part.state == "failed"}

    wait_until(lambda: reasons().keys() == {"Trigger alarm", "Source inbox"}, 60, what="both parts in trouble")
    assert all(reasons().values())

    def status() -> str:
        return CliRunner().invoke(cli, ["status", "--state", str(harness.state)], catch_exceptions=False).stdout

    # A trigger that is tried again just now is in no trouble.
    wait_until(lambda: "Trigger alarm" in status(), 60, what="the trigger in the table")
    assert "Source inbox" in status()
    assert harness.log().count("queue trigger/digits/alarm is paused") == 1
