"""`eaves logs -f NAME` as a process."""

import json
from pathlib import Path

from eaves.errors import NotFoundError
from eaves.local.processes.logs import rotate
from eaves.local.state import StateDirectory
from tests.cli import EAVES
from tests.integration.cli.live.views import open_view
from tests.processes.commands import run_command
from tests.terminals import run_on_terminal
from tests.waiting import wait_until


def test_lines_are_shown_as_they_are_written_across_a_rotation_until_ctrl_c(tmp_path: Path):
    state = StateDirectory(root=tmp_path)
    state.prepare()
    log = state.log("flowers")
    log.write_text("first\nsecond\n")
    with open_view(tmp_path, "logs", "-f", "flowers", "-n", "1", "--state", ".") as view:
        wait_until(lambda: "second" in view.stdout, 60, what="the line that is there")
        with log.open("a") as stream:
            stream.write("third\n" + "x" * 30_000 + "\nfourth\n")
        wait_until(lambda: "fourth" in view.stdout, 20, what="the lines before the rotation")
        rotate(state.logs, max_bytes=90_000)
        with log.open("a") as stream:
            stream.write("fifth\x1b[2J\n")
        wait_until(lambda: "fifth" in view.stdout, 20, what="a new line")
        assert view.press_ctrl_c() == 0
        shown = [text for text in view.stdout.splitlines() if not text.startswith("x")]
        assert shown == ["second", "third", "fourth", "fifth\\x1b[2J"]


def test_a_name_that_nothing_has_is_an_error(tmp_path: Path):
    with open_view(tmp_path, "logs", "-f", "flowers", "--state", ".") as view:
        assert view.process.wait(60) == NotFoundError.exit_code
        assert "'flowers' has no log" in view.stderr


def test_a_terminal_shows_lines_for_people_and_a_pipe_gets_them_as_they_were_written(tmp_path: Path):
    state = StateDirectory(root=tmp_path)
    state.prepare()
    line = json.dumps({"time": "2026-11-26T12:00:00.000Z", "level": "info", "message": "started", "source": "/s/x"})
    state.log("flowers").write_text(f"{line}\n")
    shown = run_on_terminal("logs", "flowers", "--state", ".", cwd=tmp_path)
    assert shown.endswith(" INFO started source=/s/x\n")
    assert "{" not in shown
    command = [*EAVES, "logs", "flowers", "--state", "."]
    assert run_command(command, cwd=tmp_path, check=True).stdout == f"{line}\n"
