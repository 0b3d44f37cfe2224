"""`eaves events --follow` as a process: new events, Ctrl-C, a reader that goes, a restart of `eaves up`."""

import json
import subprocess
from pathlib import Path

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory
from tests.cli import EAVES
from tests.integration.cli.live.views import open_view
from tests.waiting import wait_until


def event(number: int, type_: str = IMAGE_CLASSIFIED) -> Event:
    return Event(id=f"id-{number}", source="/eaves/home/flowers", type=type_, subject=f"{number}.jpg")


def test_events_are_shown_as_they_come_until_ctrl_c_across_restarts(tmp_path: Path):
    history = FileHistory(tmp_path / "history.db")
    history.add(event(0))
    history.add(event(1, IMAGE_CAPTURED))
    words = ("events", "-f", "--type", "image.classified", "-o", "json", "--state", ".")
    with open_view(tmp_path, *words) as view:
        wait_until(lambda: "id-0" in view.stdout, 60, what="the event that is there")
        history.add(event(2))
        wait_until(lambda: "id-2" in view.stdout, 20, what="a new event")
        history.close()
        history = FileHistory(tmp_path / "history.db")  # as `eaves up` that is started again
        history.add(event(3, IMAGE_CAPTURED))
        history.add(event(4))
        wait_until(lambda: "id-4" in view.stdout, 20, what="an event after the restart")
        history.close()
        for path in tmp_path.glob("history.db*"):
            path.unlink()
        history = FileHistory(tmp_path / "history.db")
        history.add(event(5))
        wait_until(lambda: "id-5" in view.stdout, 20, what="an event of a new history")
        assert view.press_ctrl_c() == 0
        assert [json.loads(line)["id"] for line in view.stdout.splitlines()] == ["id-0", "id-2", "id-4", "id-5"]
        assert "Aborted" not in view.stderr
        assert "Traceback" not in view.stderr
    history.close()


def test_a_view_whose_reader_has_gone_ends_with_its_next_line_without_a_word(tmp_path: Path):
    history = FileHistory(tmp_path / "history.db")
    history.add(event(0))
    command = [*EAVES, "events", "--follow", "--state", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert b"image.classified.v1" in process.stdout.readline()
            process.stdout.close()
            history.add(event(1))
            assert process.wait(20) == 1
            assert b"Error" not in process.stderr.read()
        finally:
            process.kill()
    history.close()
