"""What a workspace notes of its deploys: for several commands at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eaves.cli.container_image import forget_sites, load_note, note_agreement, note_deploy
from eaves.cli.project import Workspace, load_workspace
from eaves.errors import StorageError
from knative.inventory import DeploymentRecord, FunctionImage, WorkspaceMemory
from knative.settings import SiteSettings

FIRST = FunctionImage(name="r/f@sha256:1")
SECOND = FunctionImage(name="r/f@sha256:2")
BARN, FIELD = SiteSettings(name="barn"), SiteSettings(name="field", namespace="flowers")
LAST = DeploymentRecord(sequence=3, at=1e9, by="jane@laptop", site="barn", image=FIRST.name, artifact="", declared="")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    file = tmp_path / "eaves.yaml"
    file.write_text("name: flowers\ndata: {path: photos}\n")
    return load_workspace(file)


def memory(workspace: Workspace, site: SiteSettings) -> WorkspaceMemory:
    note = load_note(workspace)
    assert note is not None
    return note.site(site)


def test_a_deploy_is_pending_at_each_site_until_the_site_has_recorded_it(workspace: Workspace):
    note_deploy(workspace, FIRST, [BARN, FIELD])
    note_agreement(workspace, BARN, LAST, FIRST)
    assert memory(workspace, BARN) == WorkspaceMemory(known=LAST.mark)
    assert memory(workspace, FIELD) == WorkspaceMemory(pending=FIRST)


def test_a_deploy_that_was_noted_meanwhile_stays_pending(workspace: Workspace):
    note_deploy(workspace, FIRST, [BARN])
    note_deploy(workspace, SECOND, [BARN])  # by another command, while the first one applied
    note_agreement(workspace, BARN, LAST, FIRST)
    assert memory(workspace, BARN) == WorkspaceMemory(known=LAST.mark, pending=SECOND)


def test_one_name_in_two_namespaces_is_two_sites(workspace: Workspace):
    note_deploy(workspace, FIRST, [SiteSettings(name="barn", namespace="prod")])
    assert memory(workspace, SiteSettings(name="barn", namespace="staging")) == WorkspaceMemory()


def test_what_was_removed_is_pending_no_more_and_is_remembered_as_having_been_there(workspace: Workspace):
    note_deploy(workspace, FIRST, [BARN, FIELD])
    note_agreement(workspace, BARN, LAST, None)
    forget_sites(workspace, [BARN])
    assert memory(workspace, BARN) == WorkspaceMemory(known=LAST.mark)
    assert memory(workspace, FIELD).pending == FIRST


def test_many_sites_are_noted_at_the_same_time(workspace: Workspace):
    sites = [SiteSettings(name=f"s{number}") for number in range(40)]
    note_deploy(workspace, FIRST, sites)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda site: note_agreement(workspace, site, LAST, FIRST), sites))
    assert all(memory(workspace, site) == WorkspaceMemory(known=LAST.mark) for site in sites)
    assert not list((workspace.root / ".eaves" / "wanted").glob("*.tmp"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"image": {"name": "r/f"}, "declared": "", "sites": {"barn": 3}}'])
def test_a_damaged_note_is_named(text: str, workspace: Workspace):
    place = workspace.root / ".eaves" / "wanted" / "flowers.json"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    with pytest.raises(StorageError, match=r"flowers\.json can't be read") as e:
        load_note(workspace)
    assert str(e.value.hint).startswith(f"rm {place}")
