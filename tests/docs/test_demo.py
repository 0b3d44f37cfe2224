"""`make demo` with a wrong path: it ends before it removes what the last demo left."""

import sys
from pathlib import Path

import pytest

from tests.processes.commands import run_command

DEMO = Path(__file__).parent.parent.parent / "examples" / "demo" / "demo.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "build/demo/photos"), "demo/photos is inside build/demo"),
        (("--data", "nowhere"), "'nowhere' does not exist"),
        (("--weights", "empty"), "'empty' is a directory"),
    ],
)
def test_a_wrong_path_leaves_the_last_demo_alone(tmp_path: Path, arguments: tuple[str, ...], message: str):
    kept = tmp_path / "build" / "demo" / "photos" / "0" / "0000.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"of the last demo")
    (tmp_path / "empty").mkdir()
    command = [sys.executable, str(DEMO), *arguments]
    done = run_command(command, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
    assert kept.read_bytes() == b"of the last demo"
