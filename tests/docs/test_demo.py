"""`make demo` with a wrong path: it ends before it removes what the last demo left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parent.parent.parent / "examples" / "demo" / "demo.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nix"), "DATA=nix: no such file or folder"),
        (("--data", "build/demo/photos"), "DATA=build/demo/photos is inside build/demo"),
        (("--data", "photos/daisy"), "DATA=photos/daisy: 1 images lie directly in photos/daisy"),
        (("--weights", "empty"), "WEIGHTS=empty is a folder"),
    ],
)
def test_a_wrong_path_leaves_the_last_demo_alone(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    kept = tmp_path / "build" / "demo" / "photos" / "0" / "0000.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"of the last demo")
    for name in ("empty", "photos/daisy"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "photos/daisy/1.jpg").touch()
    command = [sys.executable, str(DEMO), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 66
    assert done.stderr.startswith(f"error: {message}")
    assert kept.read_bytes() == b"of the last demo"
