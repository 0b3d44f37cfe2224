"""Specs of the app that eaves.yaml describes, for this machine and for each site."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eaves.cli.app.project import Project, Workspace
from eaves.cli.app.sources import resolve_sources
from eaves.cli.app.triggers import resolve_relay, resolve_triggers
from eaves.config import iter_leaves
from eaves.credentials.folder import read_aws_keys
from eaves.errors import ConfigError, Fault
from eaves.local.specs import LocalApp, LocalFunction
from eaves.platform import default_trigger
from functions.settings import ServeSettings
from knative.specs import ClusterApp, ClusterFunction, build_default_trigger

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from knative.deploy.function_image import FunctionImage
    from knative.settings import SiteSettings


def build_local_app(workspace: Workspace, artifact: Artifact) -> LocalApp:
    """Build the spec of the app that eaves.yaml describes, for this machine and with an artifact.

    Raises:
        ConfigError: When a source has a fault, or when a folder that a source or trigger reads is missing.
    """
    project = workspace.project
    function = LocalFunction(
        **_settings(project, resolve_serving(workspace)),
        site=project.site,
        artifact=artifact.path,
        artifact_digest=artifact.digest,
        task=artifact.manifest.task,
    )
    feeding = default_trigger(function.name, captured=function.captured, start_timeout_s=function.scale.start_timeout_s)
    return LocalApp(
        function=function,
        triggers=(feeding, *resolve_triggers(workspace)),
        sources=resolve_sources(workspace),
        relay=resolve_relay(workspace),
        through=project.through,
    )


def build_site_app(project: Project, image: FunctionImage, site: SiteSettings) -> ClusterApp:
    """Build the spec of the app that eaves.yaml describes, for a site and with a container image."""
    function = ClusterFunction(
        **_settings(project, project.function),
        site=site.name,
        image=image.name,
        artifact_digest=image.artifact_digest,
        task=image.task,
    )
    return ClusterApp(
        function=function,
        triggers=(build_default_trigger(function), *project.triggers),
        sources=project.sources,
        relay=project.relay,
        through=project.through,
    )


def resolve_serving(workspace: Workspace) -> ServeSettings:
    """Return the section `function` of eaves.yaml with the absolute path of its folder of credentials.

    Raises:
        ConfigError: When the folder of credentials can't be used.
    """
    function = workspace.project.function
    if function.dataref_credentials is None:
        return function
    folder = workspace.path(function.dataref_credentials).absolute()
    try:
        messages = [] if read_aws_keys(folder) else [f"{folder} holds neither access_key nor secret_key"]
    except ConfigError as error:
        messages = [f"{fault.path} {fault.message}" for fault in error.faults]
    if messages:
        path = "function.dataref_credentials"
        raise ConfigError([Fault(origin=workspace.origin, path=path, message=message) for message in messages])
    return replace(function, dataref_credentials=folder)


def _settings(project: Project, function: ServeSettings) -> dict[str, Any]:
    """Return the settings of a function that are the same on every platform."""
    return {
        "name": project.name,
        "scale": project.scale,
        "concurrency": function.concurrency,
        "env": _serve_env(function),
    }


def _serve_env(settings: ServeSettings) -> dict[str, str]:
    """Return the function's settings that differ from their defaults, as environment variables of its process."""
    values = {leaf: getattr(settings, leaf.path) for leaf in iter_leaves(ServeSettings) if leaf.path != "concurrency"}
    return {leaf.env: _as_text(value) for leaf, value in values.items() if value != leaf.default}


def _as_text(value: object) -> str:
    """Return a value as the text that `eaves.config` parses back to it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
