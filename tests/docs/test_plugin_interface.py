"""What plug-ins may import is one list: that of the import contract, and that of the page for other packages."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from eaves.delivery.sinks import MqttTriggerSettings, SinkTarget, load_sink
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.platform import TriggerSpec

ROOT = Path(__file__).parents[2]


def find_section(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_page_lists_the_modules_that_the_contract_allows():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("source_modules") == ["eaves.plugins"])
    allowed = {line.partition(" -> ")[2] for line in contract["ignore_imports"]}
    table = find_section("sources.md").partition("| module |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == allowed


def test_the_sink_of_the_page_is_found_by_its_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    section = find_section("events-out.md").partition("## Your own sink")[2]
    (source,), (entry,) = (re.findall(rf"```{name}\n(.*?)```", section, flags=re.DOTALL) for name in ("python", "toml"))
    (points,) = tomllib.loads(entry)["project"]["entry-points"].values()
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[eaves.sinks]", *lines]) + "\n")
    (tmp_path / "theirs.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("theirs", None)
    url = f"file://{tmp_path}/events.jsonl"
    assert TriggerSpec(name="out", url=url).needs_publisher
    assert not list(TriggerSpec(name="out", url=url).faults())
    sink = load_sink(url)(SinkTarget(url=url, settings=MqttTriggerSettings(), site="s", app="a"))
    event = Event(id="1", source="/s", type=IMAGE_CLASSIFIED, datacontenttype="application/json", data=b'{"a": 1}')
    assert sink.send(event, timeout_s=1).status == 200
    assert json.loads((tmp_path / "events.jsonl").read_text())["data"] == {"a": 1}
    sink.close()
