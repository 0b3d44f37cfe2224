"""Reads and writes a workspace's notes of its deploys, in `.eaves/wanted/`: which sites lack the last deploy.

The record in a cluster says what is wanted there (`knative.deploy`). The note only lets `eaves reconcile` repeat a
deploy to a site that couldn't be reached, and detect that somebody else has deployed there since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.base.files import make_directory, write_atomically
from eaves.base.locks import locked
from eaves.errors import StorageError

if TYPE_CHECKING:
    from eaves.cli.project import Workspace
    from knative.inventory import DeploymentRecord, FunctionImage, WorkspaceMemory
    from knative.settings import SiteSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployNote:
    """The note of a workspace's last deploy.

    Attributes:
        image: Container image that was deployed.
        declared: Name of the container image in eaves.yaml at that time; empty when it named none.
        sites: Key of a site (`site_key`) to the note about it.
    """

    image: FunctionImage
    declared: str = ""
    sites: Mapping[str, WorkspaceMemory] = field(default_factory=dict)

    def site(self, site: SiteSettings) -> WorkspaceMemory:
        """Return the note about a site; an empty one for a site that was never deployed to."""
        from knative.inventory import WorkspaceMemory

        return self.sites.get(site_key(site)) or WorkspaceMemory()


def site_key(site: SiteSettings) -> str:
    """Return the key of a site in notes: its name, context and namespace, as options may override the last two."""
    return f"{site.name} {site.context}/{site.namespace}"


def load_note(workspace: Workspace) -> DeployNote | None:
    """Load the note of a workspace's last deploy; None when nothing was deployed from it.

    Raises:
        StorageError: When the note is damaged.
    """
    target = _place(workspace)
    try:
        return _parse(json.loads(target.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(
            f"{target} can't be read: {error}", hint=f"rm {target}, then name the container image on the command line"
        ) from error


def note_deploy(workspace: Workspace, image: FunctionImage, sites: Sequence[SiteSettings]) -> None:
    """Note a deploy as pending at its sites, so that `reconcile` repeats it at those that can't be reached now.

    Raises:
        StorageError: When the note can't be written.
    """
    declared = workspace.project.knative.image
    newest = DeployNote(image=image, declared=declared)

    def change(memory: WorkspaceMemory) -> WorkspaceMemory:
        return replace(memory, pending=image, pending_declared=declared)

    _change(workspace, sites, change, lambda note: replace(newest, sites=note.sites) if note else newest)


def note_agreement(
    workspace: Workspace, site: SiteSettings, deployment: DeploymentRecord, image: FunctionImage | None
) -> None:
    """Note that a site has recorded a deployment which this workspace also wants.

    Args:
        workspace: The project.
        site: The site.
        deployment: The deployment in the site's record.
        image: Container image that was pending when the site was asked. An image that another command has noted as
            pending since then stays pending.

    Raises:
        StorageError: When the note can't be written.
    """

    def change(memory: WorkspaceMemory) -> WorkspaceMemory:
        kept = memory.pending if memory.pending != image else None
        declared = memory.pending_declared if kept else ""
        return replace(memory, known=deployment.mark, pending=kept, pending_declared=declared)

    first = DeployNote(image=deployment.function_image, declared=deployment.declared)
    _change(workspace, [site], change, lambda note: note or first)


def forget_sites(workspace: Workspace, sites: Sequence[SiteSettings]) -> None:
    """Delete the pending deploys to sites that the app is removed from; the notes of earlier deploys stay.

    Raises:
        StorageError: When the note can't be written.
    """
    _change(workspace, sites, lambda memory: replace(memory, pending=None, pending_declared=""), lambda note: note)


def _change(
    workspace: Workspace,
    sites: Sequence[SiteSettings],
    change: Callable[[WorkspaceMemory], WorkspaceMemory],
    start: Callable[[DeployNote | None], DeployNote | None],
) -> None:
    """Change the workspace's note about sites while holding its lock, as other commands and sites do.

    Nothing is written when `start` returns None for the present note, or when nothing changes.
    """
    target = _place(workspace)
    try:
        make_directory(target.parent, mode=0o777)
        with locked(target.with_suffix(".lock"), mode=0o666):
            before = load_note(workspace)
            if (note := start(before)) is not None:
                changed = {site_key(site): change(note.site(site)) for site in sites}
                note = replace(note, sites={**note.sites, **changed})
                if note != before:
                    write_atomically(target, json.dumps(asdict(note), indent=2))
    except OSError as error:
        raise StorageError(
            f"{target} can't be written: {error.strerror}",
            hint=f"free disk space, or check who may write to {target.parent}",
        ) from error


def _parse(values: Mapping[str, Any]) -> DeployNote:
    from knative.inventory import FunctionImage

    sites = {name: _memory(value) for name, value in values["sites"].items()}
    return DeployNote(image=FunctionImage(**values["image"]), declared=str(values["declared"]), sites=sites)


def _memory(value: Mapping[str, Any]) -> WorkspaceMemory:
    from knative.inventory import FunctionImage, WorkspaceMemory

    pending = value["pending"]
    return WorkspaceMemory(
        known=str(value["known"]),
        pending=None if pending is None else FunctionImage(**pending),
        pending_declared=str(value["pending_declared"]),
    )


def _place(workspace: Workspace) -> Path:
    return workspace.root / ".eaves" / "wanted" / f"{workspace.project.name}.json"
