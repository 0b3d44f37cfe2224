"""Which container image a command on clusters is for: named, kept from the last deploy, or in eaves.yaml."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.registries import access_options, build_access
from eaves.errors import ConfigError, Fault, StorageError

if TYPE_CHECKING:
    from eaves.cli.project import Workspace
    from knative.packaged import FunctionImage

Command = TypeVar("Command", bound=Callable[..., Any])


def image_options(command: Command) -> Command:
    """`--key`, `--offline` and how registries are reached; `choose_image` takes what they say."""
    key = click.option(
        "--key", type=click.Path(path_type=Path), help="The public key by which the container image must be signed."
    )
    offline = click.option(
        "--offline", is_flag=True, help="Ask no registry: the container image is named by digest, and trusted."
    )
    return key(offline(access_options(command)))


def choose_image(
    workspace: Workspace,
    named: str,
    *,
    key: Path | None,
    offline: bool,
    plain_http: bool,
    registry_ca: Path | None,
    kept: bool = False,
) -> FunctionImage:
    """The container image that is wanted, by digest.

    Args:
        workspace: With eaves.yaml.
        named: On the command line; empty: eaves.yaml's `knative.image`, else what was deployed last.
        kept: What was deployed last comes first, unless eaves.yaml names another than it did then.
        key: Who must have signed it.
        offline: Ask no registry.
        plain_http: Reach registries without TLS.
        registry_ca: Of registries.

    Raises:
        ConfigError: When none is named anywhere.
        OciError: When it isn't there, or isn't what it must be.
    """
    from knative.packaged import resolve_image, trust_image

    text = named or workspace.project.knative.image
    if not named and (kept or not text):
        wanted = load_wanted(workspace)
        if wanted is not None and (not text or wanted.declared == text):
            return wanted.image
    if not text:
        fault = Fault(origin=workspace.origin, path="knative.image", message="no container image is named")
        raise ConfigError([fault], hint="eaves package ARTIFACT -t REPOSITORY:TAG --base python:3.13-slim prints one")
    if offline:
        if key is not None:
            raise click.UsageError("--key needs the registry, where signatures are.")
        return trust_image(text)
    from eaves.oci.keys import load_public_key

    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    return resolve_image(text, access, key=load_public_key(key) if key else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was deployed last.

    Attributes:
        image: The container image.
        declared: What eaves.yaml named then.
    """

    image: FunctionImage
    declared: str = ""


def keep_wanted(workspace: Workspace, image: FunctionImage) -> None:
    """Note what is deployed, so that `reconcile` can bring it to sites that couldn't be reached.

    Raises:
        StorageError: When it can't be written.
    """
    target = _place(workspace)
    staging = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = {"image": asdict(image), "declared": workspace.project.knative.image}
        staging.write_text(json.dumps(kept, indent=2))
        staging.rename(target)
    except OSError as error:
        raise StorageError(
            f"{target} can't be written: {error.strerror}", hint="free space, or fix its rights"
        ) from error


def load_wanted(workspace: Workspace) -> Kept | None:
    """What was deployed last from here; None when nothing was.

    Raises:
        StorageError: When the note is damaged.
    """
    from knative.packaged import FunctionImage

    target = _place(workspace)
    try:
        values = json.loads(target.read_text())
        return Kept(image=FunctionImage(**values["image"]), declared=str(values["declared"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(
            f"{target} can't be read: {error}", hint=f"rm {target}, and name the container image"
        ) from error


def _place(workspace: Workspace) -> Path:
    return workspace.root / ".eaves" / "wanted" / f"{workspace.project.name}.json"
