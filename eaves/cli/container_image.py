"""The container image that a command deploys to clusters, and options with which commands connect to registries.

A workspace notes its deploys in `.eaves/wanted/`: the record in a cluster says what is wanted there (`knative.deploy`).
The note only lets `eaves reconcile` repeat a deploy to a site that couldn't be reached, and detect that somebody else
has deployed there since.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.base.files import make_directory, write_atomically
from eaves.base.locks import locked
from eaves.cli.output import Command, say
from eaves.cli.project import ANY_PATH, EXISTING_FILE, Workspace
from eaves.errors import ConfigError, Fault, StorageError

if TYPE_CHECKING:
    from eaves.cli.project import Workspace
    from eaves.oci.registry.transport import Access
    from knative.inventory import DeploymentRecord, FunctionImage, WorkspaceMemory
    from knative.settings import SiteSettings


PLAIN_HTTP = "EAVES_PLAIN_HTTP"
"""Environment variable that sets `--plain-http`, so that every command connects to a registry without TLS."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_AT_A_REGISTRY = re.compile(r"[^./][^/]*[.:][^/]*/.+|localhost/.+|.+@sha256:[0-9a-f]{64}|oci:.*")


def is_container_image(text: str) -> bool:
    """Return whether a name on the command line is that of a container image.

    The path of an existing file or folder is not; it names an artifact.
    """
    return bool(_AT_A_REGISTRY.fullmatch(text)) and not Path(text).exists()


def access_options(command: Command) -> Command:
    """Add `--plain-http` and `--registry-ca` to a command, which receives `access`; its call returns `Access`."""
    plain = click.option(
        "--plain-http",
        is_flag=True,
        envvar=PLAIN_HTTP,
        help="Connect to registries without TLS, except to Docker's own. Passwords are sent unprotected. "
        f"[{PLAIN_HTTP}]",
    )
    authority = click.option(
        "--registry-ca",
        type=EXISTING_FILE,
        help="PEM file of certificate authorities that are trusted for registries, in addition to the system's.",
    )

    @functools.wraps(command)
    def gather(*args: Any, plain_http: bool, registry_ca: Path | None, **values: Any) -> Any:
        access = functools.partial(build_access, plain_http=plain_http, registry_ca=registry_ca)
        return command(*args, access=access, **values)

    return plain(authority(gather))  # type: ignore[return-value]


def image_options(command: Command) -> Command:
    """Add `--key`, `--offline` and the options for registries to a command, which receives them as `images`."""
    key = click.option(
        "--key",
        type=ANY_PATH,
        help="Public key file; the container image must have a signature that it verifies.",
    )
    offline = click.option(
        "--offline",
        is_flag=True,
        help="Connect to no registry; the container image must be named by digest, and is not checked.",
    )

    @functools.wraps(command)
    def gather(*args: Any, key: Path | None, offline: bool, access: Callable[[], Access], **values: Any) -> Any:
        return command(*args, images=ImageChoice(key=key, offline=offline, access=access), **values)

    return key(offline(access_options(gather)))  # type: ignore[return-value]


def build_access(*, plain_http: bool, registry_ca: Path | None = None) -> Access:
    """Build the settings for connections to registries, from options and environment variables.

    The variables are DOCKER_CONFIG, REGISTRY_AUTH_FILE and XDG_RUNTIME_DIR, for passwords, and those of HTTP proxies.

    Raises:
        ConfigError: When an environment variable of a proxy holds no address.
    """
    from eaves.http_client.proxies import parse_proxies
    from eaves.oci.registry.transport import Access

    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker")
    podman = os.environ.get("REGISTRY_AUTH_FILE") or f"{os.environ.get('XDG_RUNTIME_DIR', '')}/containers/auth.json"
    return Access(
        plain_http=plain_http,
        authorities=registry_ca,
        proxies=parse_proxies(os.environ),
        configs=(folder / "config.json", Path(podman), Path("~/.config/containers/auth.json")),
        say=say,
    )


def default_platform() -> str:
    """Return this machine's platform as container images name it, `linux/amd64` for example."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """Values of the options that choose the container image of a deployment.

    Attributes:
        key: Public key file that must verify the image's signature; None requires no signature.
        offline: Whether to connect to no registry.
        access: Builds the access to registries.
    """

    key: Path | None
    offline: bool
    access: Callable[[], Access]

    def choose(self, workspace: Workspace, named: str, *, kept: bool = False) -> FunctionImage | None:
        """Return the container image that a command deploys, by digest; None when none is named anywhere.

        It is the one named on the command line, else `knative.image` of eaves.yaml, else the one deployed last.

        Args:
            workspace: The project.
            named: Name on the command line; empty when none is given.
            kept: Whether the image deployed last is returned unless eaves.yaml names another one than at that time.

        Raises:
            OciError: When the container image isn't at the registry, isn't signed as required, or isn't a function's.
            StorageError: When the workspace's note of its last deploy can't be read.
        """
        declared = workspace.project.knative.image
        note = None if named or (declared and not kept) else load_note(workspace)
        if note is not None and declared in ("", note.declared):
            return note.image
        return self._resolve(named or declared) if named or declared else None

    def require(self, workspace: Workspace, named: str) -> FunctionImage:
        """Return the container image that a command deploys.

        Raises:
            ConfigError: When no container image is named anywhere.
            EavesError: The causes are those of `choose`.
        """
        if (image := self.choose(workspace, named)) is not None:
            return image
        fault = Fault(origin=workspace.origin, path="knative.image", message="no container image is named")
        hint = "name the container image that eaves package ARTIFACT -t REPOSITORY:TAG --base python:3.13-slim prints"
        raise ConfigError([fault], hint=hint)

    def _resolve(self, text: str) -> FunctionImage:
        from knative.deploy.function_image import resolve_image, trust_image

        if self.offline:
            if self.key is not None:
                raise click.UsageError("--key and --offline exclude each other: signatures are read from the registry.")
            return trust_image(text)
        from eaves.oci.signatures import load_public_key

        return resolve_image(text, self.access(), key=load_public_key(self.key) if self.key else None)


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
    target = _note_file(workspace)
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
    target = _note_file(workspace)
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
    from knative.inventory import FunctionImage, WorkspaceMemory

    sites = {
        name: WorkspaceMemory(**{**memory, "pending": memory["pending"] and FunctionImage(**memory["pending"])})
        for name, memory in values["sites"].items()
    }
    return DeployNote(image=FunctionImage(**values["image"]), declared=str(values["declared"]), sites=sites)


def _note_file(workspace: Workspace) -> Path:
    return workspace.root / ".eaves" / "wanted" / f"{workspace.project.name}.json"
