"""What eaves.yaml wants as specs: of one function on this machine, or of the same at each site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.app.project import Project, Workspace
from eaves.cli.app.sources import resolve_sources
from eaves.cli.app.triggers import resolve_relay, resolve_triggers
from eaves.config import iter_leaves
from eaves.platform import AppSpec, FunctionSpec, default_trigger
from functions.settings import ServeSettings

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from knative.deploy.function_image import FunctionImage
    from knative.settings import SiteSettings

MOUNTED = Path("/artifact")
"""Where a function's container image has its artifact."""


def build_local_app(workspace: Workspace, artifact: Artifact) -> AppSpec:
    """What eaves.yaml wants on this machine, with this artifact.

    Raises:
        ConfigError: When a source has a fault, or what it or a trigger reads is missing.
    """
    project = workspace.project
    function = replace(
        _function(project),
        artifact=artifact.path,
        artifact_digest=artifact.digest,
        task=artifact.manifest.task,
    )
    app = _app(project, function)
    triggers = (app.triggers[0], *resolve_triggers(workspace))
    return replace(app, triggers=triggers, sources=resolve_sources(workspace), relay=resolve_relay(workspace))


def build_site_app(project: Project, image: FunctionImage, site: SiteSettings) -> AppSpec:
    """What eaves.yaml wants at a site, with this container image."""
    function = replace(
        _function(project),
        site=site.name,
        image=image.name,
        artifact_digest=image.artifact_digest,
        task=image.task,
    )
    return _app(project, function)


def _app(project: Project, function: FunctionSpec) -> AppSpec:
    trigger = default_trigger(project.name, captured=function.captured, start_timeout_s=project.scale.start_timeout_s)
    return AppSpec(
        function=function,
        triggers=(trigger, *project.triggers),
        sources=project.sources,
        relay=project.relay,
        through=project.through,
    )


def _function(project: Project) -> FunctionSpec:
    return FunctionSpec(
        name=project.name,
        site=project.site,
        artifact=MOUNTED,
        scale=project.scale,
        concurrency=project.function.concurrency,
        env=_serve_env(project.function),
    )


def _serve_env(settings: ServeSettings) -> dict[str, str]:
    """The function's settings that differ from their defaults, as its process reads them."""
    values = {leaf: getattr(settings, leaf.path) for leaf in iter_leaves(ServeSettings) if leaf.path != "concurrency"}
    return {leaf.env: _as_text(value) for leaf, value in values.items() if value != leaf.default}


def _as_text(value: object) -> str:
    """As the configuration engine reads it again."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
