"""Settings of an agent's sources: one flat mapping each, and every fault with its path; the agent's own id."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import ConfigError, NotFoundError, SpoolError
from eaves.sources.agent.configuration import count_remembered, load_agent_id, parse_sources
from eaves.sources.folder.source import KIND, FolderSourceSettings
from eaves.sources.kind import KINDS, load_kind
from eaves.sources.settings import AgentSettings, SourceSettings
from tests.processes.commands import run_code


def parse(*sources: Any, **values: Any) -> Any:
    return parse_sources(AgentSettings(sources=json.dumps(sources), **values))


def test_the_settings_of_all_sources_and_those_of_the_kind_stand_side_by_side():
    first, second = parse(
        {"name": "inbox", "kind": "folder", "path": "/in", "polling": True, "max_bytes": 1000},
        {"name": "gate", "path": "/gate", "credentials": "/secret"},
    )
    assert first.common == SourceSettings(name="inbox", kind="folder", max_bytes=1000)
    assert first.settings == FolderSourceSettings(path=Path("/in"), polling=True)
    assert first.kind is second.kind is KIND
    assert second.common.credentials == Path("/secret")
    assert count_remembered([first, second]) == 4_000_000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"name": "a", "pth": "/in"}, "sources[0].pth: unknown setting; did you mean path?"),
        ({"name": "A b"}, "sources[0].name: must be 1-40 characters"),
        ({"name": "a", "kind": "foldr"}, "sources[0].kind: there is no source kind 'foldr'; did you mean folder?"),
        ({"name": "a", "settle_s": -1}, "sources[0].settle_s: must be >= 0"),
    ],
)
def test_a_fault_is_reported_with_the_path_of_its_setting(source: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        parse(source)
    assert f"environment variable EAVES_SOURCES: {message}" in str(caught.value)


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"names must be unique \('a' occurs twice"):
        parse({"name": "a"}, {"name": "a"})


@pytest.mark.parametrize("text", ["[]", "[1]", "no"])
def test_what_is_no_list_of_sources_is_said_so_with_an_example(text: str):
    with pytest.raises(ConfigError, match=r"sources: (must be a JSON list of sources, for example|is not JSON)"):
        parse_sources(AgentSettings(sources=text))


def test_the_spool_must_hold_the_largest_image_of_every_source():
    message = "spool_max_bytes: must fit an image of max_bytes and its attributes: at least 20065536"
    with pytest.raises(ConfigError, match=message):
        parse({"name": "a", "max_bytes": 1}, {"name": "b"}, spool_max_bytes=20_065_535)
    parse({"name": "a", "max_bytes": 1}, {"name": "b"}, spool_max_bytes=20_065_536)


def add_package(folder: Path, value: str, source: str = "") -> None:
    """An installed package, `theirs`, whose entry point is the kind `theirs`."""
    metadata = folder / "theirs-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[eaves.sources]\ntheirs = {value}\n")
    (folder / "theirs.py").write_text(source)


@pytest.mark.parametrize(
    ("value", "source", "message"),
    [
        ("theirs:KIND", "1 / 0", "kind theirs can't be loaded from theirs:KIND: ZeroDivisionError: division by zero"),
        ("theirs:KIND", "KIND = 7", "kind theirs is a int, not an eaves.sources.kind.SourceKind"),
    ],
)
def test_a_kind_that_cannot_be_loaded_is_said_so(
    value: str, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_package(tmp_path, value, source)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("theirs", None)
    assert "theirs" in KINDS.names()
    with pytest.raises(NotFoundError, match=message):
        load_kind("theirs")


def test_no_package_replaces_a_kind_of_eaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    add_package(tmp_path, "theirs:KIND\ncamera = theirs:KIND\nfolder = theirs:KIND", "1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert [load_kind(name).place_setting for name in ("camera", "folder")] == ["url", "path"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"claim_check_bucket": "s3://a"}, "claim_check_bucket: has no effect without claim_check_over_bytes"),
        (
            {"claim_check_over_bytes": 1, "claim_check_bucket": "s3://abc", "claim_check_endpoint": "minio"},
            "claim_check_endpoint: must be http://HOST:PORT",
        ),
    ],
)
def test_faults_of_claim_checks(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        parse({"name": "a", **values})
    assert f"sources[0].{message}" in str(caught.value)


def test_an_agent_of_a_folder_imports_no_other_kind_no_client_of_buckets_and_no_metadata():
    code = (
        "import sys; from eaves.sources.kind import load_kind; load_kind('folder');"
        "print([name for name in sys.modules if name.startswith(('eaves.plugins.mqtt', 'eaves.sources.http', 'paho',"
        " 'watchdog', 'importlib.metadata'))]);"
        "from eaves.sources.agent.configuration import read_source;"
        "from eaves.sources.agent.deliverers import open_buckets; from eaves.sources.settings import AgentSettings;"
        "one, _ = read_source({'name': 'a'}, '', ''); assert not open_buckets([one], AgentSettings(), None);"
        "print([name for name in sys.modules if name.startswith('eaves.bucket')])"
    )
    done = run_code(code, check=True, timeout=60)
    assert done.stdout.split("\n") == ["[]", "[]", ""]


def test_it_stays_the_same_and_no_other_agent_has_it(tmp_path: Path):
    first = load_agent_id(tmp_path / "a.db")
    assert len(first) == 8
    assert load_agent_id(tmp_path / "a.db") == first
    assert load_agent_id(tmp_path / "b.db") != first


@pytest.mark.parametrize("content", [b"\xff\xfe", b"0" * 9])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes):
    (tmp_path / "a.db.id").write_bytes(content)
    made = load_agent_id(tmp_path / "a.db")
    assert len(made) == 8
    assert load_agent_id(tmp_path / "a.db") == made


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path):
    with pytest.raises(SpoolError, match=r"a\.db\.id"):
        load_agent_id(tmp_path / "missing" / "a.db")
