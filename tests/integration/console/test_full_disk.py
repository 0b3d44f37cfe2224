"""A disk that is full or read-only: people need the console then to see why."""

from pathlib import Path

import pytest

from tests.disks import FILL, run_on_disk

pytestmark = pytest.mark.disk

OPEN = """
from pathlib import Path
from eaves.console.logins import KEY_FILE, load_signing_key
assert len(load_signing_key(Path("."))) == 32
assert not Path(KEY_FILE).exists()
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_the_console_opens_without_a_file_for_its_key(tmp_path: Path, read_only: bool):
    done = run_on_disk(["-c", OPEN], tmp_path, before="true" if read_only else FILL, read_only=read_only)
    assert done.returncode == 0, done.stderr
    assert "can't be written" in done.stderr
