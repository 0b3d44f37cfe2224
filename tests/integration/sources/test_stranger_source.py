"""A source that a package of somebody else adds, as docs/sources.md shows it: built, installed and run."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest

from eaves.events import IMAGE_CAPTURED
from tests.contract.sinks import LocalSink
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/sources.md").read_text(encoding="utf-8").partition("## Your own source")[2]


def block(language: str) -> str:
    """The page's only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


def build(folder: Path, out: Path) -> Path:
    """Build a wheel without the network."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(folder)]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean environment with Eaves and the stranger's package; dependencies are ours."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "src").mkdir()
    (folder / "src" / "theirs.py").write_text(block("python"))
    (folder / "src" / "pyproject.toml").write_text(block("toml"))
    wheels = [build(folder / "src", folder / "theirs"), build(ROOT, folder / "eaves")]
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*command, *map(str, wheels)], capture_output=True, check=True, timeout=120)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{Path(click.__file__).parents[1]}\n")
    return python


def test_it_imports_only_names_that_the_page_documents():
    imports = [line for line in block("python").splitlines() if line.startswith(("import ", "from "))]
    assert [line for line in imports if "eaves" in line] == [
        "from eaves.sources import Frame, SourceContext, SourceKind, setting"
    ]
    body = block("python").partition("def run")[2].splitlines()
    assert len([line for line in body if line.strip()]) <= 10


@pytest.mark.long("files settle before they are sent")
def test_its_images_arrive_and_its_state_is_reported(python: Path, sink: LocalSink, tmp_path: Path):
    image = tmp_path / "image.png"
    sources = [{"name": "cam", "kind": "theirs", "command": f"cat {image}", "every_s": 0.1, "jpeg_quality": 80}]
    environ = {
        "EAVES_SOURCES": json.dumps(sources),
        "EAVES_SITE": "test",
        "EAVES_SPOOL": str(tmp_path / "agent.db"),
        "K_SINK": sink.url,
    }
    log = tmp_path / "agent.log"
    with log.open("wb") as stream:
        agent = subprocess.Popen([python, "-P", "-m", "eaves.sources"], env=environ, stdout=stream, stderr=stream)
    try:
        wait_until(lambda: "source cam is waiting: the command ended with 1" in log.read_text(), 30, what="a failure")
        image.write_bytes(encode_png(COLOURS["red"]))
        wait_until(lambda: len(sink.received) >= 2, 30, what="two images")
    finally:
        agent.terminate()
        assert agent.wait(20) == 0
    event = sink.received[0]
    assert (event.type, event.source, event.datacontenttype) == (IMAGE_CAPTURED, "/eaves/test/cam", "image/jpeg")
    assert len({event.id for event in sink.received}) == len(sink.received)
    assert log.read_text().count("is waiting") == 1
