"""Rendered files for GitOps: revisions have names, and traffic is changed in the file that a controller applies.

Argo CD and Flux apply the files in Git, and no other tool should set traffic then. So the Service's file names its
revision by a digest of its content, and all requests stay with the revision that the previous file served.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eaves.base.files import write_atomically
from eaves.errors import ConfigError, Fault, InputError, StorageError
from knative.client.kinds import KSERVICE
from knative.gitops import rollout_files
from knative.gitops.pin_files import keep_pins
from knative.resources.rendering import HEAD, to_yaml, write_files

VERBS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "promote": rollout_files.promote,
    "rollback": rollout_files.rollback,
}


def write_gitops(manifests: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write each manifest to a file in a folder.

    The new revision in the Service's file gets no requests before a user promotes it.

    Raises:
        ConfigError: When the existing file can't be read.
        InputError: When the existing file was not rendered for GitOps.
        StorageError: When the folder can't be written.
    """
    found = find_service(folder) if folder.is_dir() else None
    before = found[1] if found is not None else None
    if found is not None and not found[1]["spec"]["template"].get("metadata", {}).get("name"):
        raise InputError(
            f"{found[0]} was not rendered for GitOps: it names no revision, so the revision that it serves is not "
            "known",
            hint=f"rm {found[0]}   # the new revision then gets every request as soon as it is ready",
        )
    targeted = [_targeted(one, before) if is_function(one) else one for one in manifests]
    service = next(one for one in targeted if is_function(one))
    there = [one for _, one in _documents(folder)] if folder.is_dir() else []
    return write_files(keep_pins(targeted, service, there), folder)


def change_traffic(folder: Path, verb: str, percent: int | None) -> Path:
    """Change the traffic in the Service's file.

    Args:
        folder: Folder of rendered files.
        verb: `promote`, `rollback` or `percent`.
        percent: Share of the new revision in percent, for `percent`; None otherwise.

    Returns:
        Path of the file.

    Raises:
        ConfigError: When the folder has no Service's file, or one that can't be read.
        EavesError: When the file names no other revision for the change.
        StorageError: When the file can't be written.
    """
    found = find_service(folder)
    if found is None:
        fault = Fault(origin=str(folder), path="", message="the folder has no file with a Knative Service")
        raise ConfigError([fault], hint=_where(folder) or f"eaves render --gitops --output {folder}")
    path, manifest = found
    changed = rollout_files.set_percent(manifest, percent or 0) if verb == "percent" else VERBS[verb](manifest)
    try:
        write_atomically(path, HEAD + to_yaml(changed), durability="none", mode=None, sole_writer=True)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}", hint=f"ls -l {folder}") from error
    return path


def find_service(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find the file of the Knative Service, and parse it; return None when the folder has no such file.

    Raises:
        ConfigError: When a file can't be read, or there are several such files.
    """
    found = [(path, document) for path, document in _documents(folder) if is_function(document)]
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        fault = Fault(origin=str(folder), path="", message=f"the folder has several Knative Services: {names}")
        raise ConfigError([fault], hint="use one folder for each Knative Service")
    return found[0] if found else None


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every object of a folder with its file.

    Raises:
        ConfigError: When a file can't be read.
    """
    for path in sorted(folder.glob("*.yaml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError([Fault(origin=str(path), path="", message=f"the file can't be read: {error}")]) from error
        if isinstance(document, dict) and isinstance(document.get("metadata"), dict):
            yield path, document


def _where(folder: Path) -> str:
    """Return the options `--dir FOLDER` that a user may have meant; empty when there are none.

    They name the folders of sites below the given folder, if these have a Service's file each.
    """
    below = sorted(path.name for path in folder.iterdir() if path.is_dir() and find_service(path) is not None)
    more = f", or one of: {', '.join(below[1:])}" if len(below) > 1 else ""
    return f"--dir {folder / below[0]}{more}" if below else ""


def is_function(manifest: Mapping[str, Any]) -> bool:
    """Return whether an object is a Knative Service."""
    return (manifest.get("apiVersion"), manifest.get("kind")) == (KSERVICE.api_version, KSERVICE.kind)


def _targeted(manifest: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    named = copy.deepcopy(dict(manifest))
    template = named["spec"]["template"]
    content = json.dumps(template, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    template["metadata"] = {"name": f"{named['metadata']['name']}-{digest}", **template["metadata"]}
    return rollout_files.retarget(before, named)
