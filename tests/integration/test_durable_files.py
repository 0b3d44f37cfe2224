"""Files that survive a power cut: what the kernel is asked to write through, and in which order."""

import re
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import Spool
from eaves.spool.file import replacement_path
from tests.syscalls import needs_strace, trace

pytestmark = [needs_strace, pytest.mark.disk]


def trace_paths(code: str, folder: Path) -> list[tuple[str, str]]:
    """Run Python code and return what it asked the kernel to do below `folder`, in order.

    Returns:
        Name and last path of each fsync, rename and unlink; paths are relative to `folder`.
    """
    calls = trace(code, folder, "fsync,rename,renameat,renameat2,unlink,unlinkat")
    paths = [(name, re.findall(r'["<]([^">]+)[">]', arguments)[-1]) for name, arguments in calls]
    return [(name, str(Path(path).relative_to(folder))) for name, path in paths]


def test_a_replaced_file_is_on_disk_before_it_has_its_name_and_its_name_after(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    code = (
        "import sys, pathlib; from eaves.base.files import write_atomically as w\n"
        "w(pathlib.Path(sys.argv[1]) / 'a', 'x')"
    )
    (fsync, staging), *rest = trace_paths(code, folder)
    assert (fsync, staging.startswith(".a.")) == ("fsync", True)
    assert rest == [("rename", "a"), ("fsync", ".")]


@pytest.mark.parametrize(("durability", "calls"), [("none", ["rename"]), ("file", ["fsync", "rename"])])
def test_a_file_that_can_be_made_again_asks_less_of_the_disk(tmp_path: Path, durability: str, calls: list[str]):
    folder = tmp_path / "folder"
    folder.mkdir()
    code = (
        "import sys, pathlib; from eaves.base.files import write_atomically as w\n"
        f"w(pathlib.Path(sys.argv[1]) / 'a', 'x', durability='{durability}')"
    )
    assert [name for name, _ in trace_paths(code, folder)] == calls


def test_a_renamed_directory_is_on_disk_with_all_that_is_in_it_before_it_has_its_name(tmp_path: Path):
    folder = tmp_path / "folder"
    (folder / "work/deep").mkdir(parents=True)
    (folder / "work/deep/file").write_text("x")
    code = (
        "import sys, pathlib; from eaves.base.files import rename_durably as r\n"
        "p = pathlib.Path(sys.argv[1]); r(p / 'work', p / 'done')"
    )
    calls = trace_paths(code, folder)
    assert {calls[0], calls[1]} == {("fsync", "work/deep"), ("fsync", "work/deep/file")}
    assert calls[2:] == [("fsync", "work"), ("rename", "done"), ("fsync", ".")]


STATE = """
import sys, pathlib
from eaves.local.state import StateDirectory
from eaves.local.state import LocalApp, LocalFunction
state = StateDirectory(root=pathlib.Path(sys.argv[1]))
state.write_spec(LocalApp(function=LocalFunction(name="a", site="s", artifact=pathlib.Path("/x"))))
"""


def test_a_deployed_spec_and_every_folder_that_leads_to_it_are_on_disk(tmp_path: Path):
    folder = tmp_path / "parent"
    folder.mkdir()
    calls = trace_paths(STATE.replace("sys.argv[1]", "sys.argv[1] + '/state'"), folder)
    assert {("fsync", "."), ("fsync", "state")} < set(calls)
    written = calls.index(("rename", "state/specs/a.json"))
    assert calls[written - 1][0] == "fsync"
    assert calls[written - 1][1].startswith("state/specs/.a.json.")
    assert calls[written + 1] == ("fsync", "state/specs")


def test_a_removed_spec_does_not_come_back(tmp_path: Path):
    folder = tmp_path / "state"
    calls = trace_paths(f"{STATE}\nstate.remove_spec('a')", folder)
    assert calls[-2:] == [("unlink", "specs/a.json"), ("fsync", "specs")]


CANARY = """
import sys, pathlib
from eaves.local.client import LocalPlatform
from eaves.local.state import LocalApp, LocalFunction
from eaves.rollout import RolloutSettings
root = pathlib.Path(sys.argv[1])
platform = LocalPlatform(root)
for digest in ("a", "b"):
    function = LocalFunction(name="a", site="s", artifact=root, artifact_digest=64 * digest)
    platform.deploy(LocalApp(function=function), canary=RolloutSettings())
platform.promote("a")
platform.remove("a")
"""


def test_a_promotion_is_on_disk_before_the_spec_changes_and_a_removed_canary_does_not_come_back(tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    calls = trace_paths(CANARY, folder)
    made = [(name, path) for name, path in calls if path.endswith(".json") or path in ("specs", "rollouts")]
    first = made.index(("rename", "specs/a.json"))
    begun = made.index(("rename", "rollouts/a.json"), first)
    assert ("rename", "specs/a.json") not in made[first + 1 : begun], "the canary changes only the rollout's file"
    promoted = made.index(("rename", "rollouts/a.json"), begun + 1)
    assert made[promoted + 1] == ("fsync", "rollouts")
    assert promoted < made.index(("rename", "specs/a.json"), begun)
    removed = made.index(("unlink", "rollouts/a.json"))
    assert made[removed + 1] == ("fsync", "rollouts")
    assert removed < made.index(("unlink", "specs/a.json"))


SALVAGE = """
import sys, pathlib
from eaves.spool.salvage import replace_damaged
replace_damaged(pathlib.Path(sys.argv[1]) / "spool.db")
"""


def test_a_salvaged_spool_is_on_disk_before_it_replaces_the_damaged_one(tmp_path: Path):
    folder = tmp_path / "folder"
    with Spool(folder / "spool.db") as spool:
        spool.put(Event(id="1", source="/s", type="t"))
    calls = trace_paths(SALVAGE, folder)
    complete = calls.index(("rename", replacement_path(folder / "spool.db").name))
    assert calls[complete - 1] == ("fsync", "spool.db.salvage")
    assert calls[complete + 1] == ("fsync", ".")
    assert ("rename", "spool.db") in calls[complete:]


ARCHIVE = """
import sys, pathlib
from eaves.events import Event
from eaves.link.archive import Archive
from eaves.spool import Entry
image = Event(id="1", source="/eaves/mill/gate", type="t", datacontenttype="image/jpeg", data=b"x")
entry = Entry(seq=1, lane="sink", event=image, attempts=0, first_put_at=0.0, size_bytes=0)
Archive(pathlib.Path(sys.argv[1])).write([entry])
"""


def test_archived_images_have_their_names_on_disk_before_a_line_refers_to_them(tmp_path: Path):
    folder = tmp_path / "folder"
    calls = trace_paths(ARCHIVE, folder)
    named = next(place for place, (name, path) in enumerate(calls) if name == "rename" and path.endswith(".jpg"))
    assert named < calls.index(("fsync", "images/mill")) < calls.index(("fsync", "events-1970-01-01.jsonl"))


def test_a_label_and_its_file_s_name_are_on_disk_before_its_first_byte_makes_it_count(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    code = (
        "import sys, pathlib; from eaves.labels import LabelBook as B\n"
        "b = B(pathlib.Path(sys.argv[1])); b.name_class('rose', 'Anna'); b.name_class('tulip', 'Anna')"
    )
    file = ("fsync", "labels.csv")
    assert trace_paths(code, folder) == [file, ("fsync", "."), file, file, file]
