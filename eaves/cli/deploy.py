"""`eaves deploy`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from eaves.artifact import Artifact, open_artifact
from eaves.cli.arguments import file_option, newest, state_option
from eaves.cli.output import say
from eaves.cli.project import Workspace, load_workspace
from eaves.cli.verify import replay_visibly
from eaves.config import iter_leaves
from eaves.errors import ArtifactError, ConfigError, Fault
from eaves.platform import AppSpec, FunctionSpec, default_trigger
from functions.settings import ServeSettings


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@file_option
@state_option
def command(artifact: Path | None, file: Path, state_dir: Path) -> None:
    """Want ARTIFACT (the newest when not given) as a function; `eaves up` runs it. Prints the function's name.

    Every digest is checked and every golden image replayed first.
    """
    workspace = load_workspace(file)
    chosen = artifact or newest(workspace.artifacts, "manifest.json")
    if chosen is None:
        raise ArtifactError(f"there is no artifact in {workspace.artifacts}", hint="eaves convert")
    opened = open_artifact(chosen.absolute(), level="full")
    app = build_app(workspace, opened)
    for result in replay_visibly(opened):
        result.require()

    from eaves.local.client import LocalPlatform

    platform = LocalPlatform(state_dir)
    platform.deploy(app)
    click.echo(app.function.name)
    say("it runs" if platform.running() else "wanted; nothing runs it yet: `eaves up`")


def build_app(workspace: Workspace, artifact: Artifact) -> AppSpec:
    """What eaves.yaml wants, with this artifact.

    Raises:
        ConfigError: When a source's folder is missing.
    """
    project = workspace.project
    sources = tuple(replace(source, path=workspace.path(source.path).absolute()) for source in project.sources)
    missing = [source.path for source in sources if not source.path.is_dir()]
    faults = [
        Fault(origin=workspace.origin, path=f"sources[{index}].path", message=f"{source.path} is not a folder")
        for index, source in enumerate(sources)
        if not source.path.is_dir()
    ]
    if faults:
        raise ConfigError(faults, hint=f"mkdir -p {shlex.quote(str(missing[0]))}")
    function = FunctionSpec(
        name=project.name,
        site=project.site,
        artifact=artifact.path,
        artifact_digest=artifact.digest,
        task=artifact.manifest.task,
        scale=project.scale,
        concurrency=project.function.concurrency,
        env=_serve_env(project.function),
    )
    trigger = default_trigger(project.name, captured=function.captured)
    return AppSpec(function=function, triggers=(trigger, *project.triggers), sources=sources)


def _serve_env(settings: ServeSettings) -> dict[str, str]:
    """The function's settings that differ from their defaults, as its process reads them."""
    values = {leaf: getattr(settings, leaf.path) for leaf in iter_leaves(ServeSettings) if leaf.path != "concurrency"}
    return {leaf.env: str(value) for leaf, value in values.items() if value != leaf.default}
