"""An app at a site > every object it takes, in the order they are applied; and the same as commented YAML files.

What this returns is what `deploy` applies, no more and no less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eaves.errors import ConfigError, Fault, StorageError
from eaves.platform import AppSpec, SourceSpec
from knative.comments import annotate
from knative.resources.access import build_account, build_network_policy
from knative.resources.agent import build_agents
from knative.resources.eventing import build_broker, build_event_types, build_triggers
from knative.resources.function import build_function
from knative.resources.pin import build_pin
from knative.settings import KnativeSettings, SiteSettings

HEAD = "# Written by `eaves render`. Change eaves.yaml and render again; `kubectl apply -f` takes it as it is.\n"
MAX_STATEFUL_SET = 52
"""Characters of a name: its pods carry it and a hash in a label of 63. Source: kubernetes/kubernetes#64023."""


def render_app(app: AppSpec, settings: KnativeSettings, site: SiteSettings) -> tuple[dict[str, Any], ...]:
    """Every object of an app at a site, in the order they are applied.

    Raises:
        ConfigError: With everything that stands in the way.
    """
    faults = list(_faults(app, settings, site))
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(_objects(app, settings, site), key=lambda one: one["kind"] != "Namespace"))


def _objects(app: AppSpec, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    yield build_account(app, site)
    if settings.network_policy:
        yield build_network_policy(app, settings, site)
    if settings.create_broker:
        yield build_broker(app, settings, site)
    yield from build_event_types(app, settings, site)
    if settings.pin:
        yield build_pin(app, settings, site)
    yield build_function(app, settings, site)
    yield from build_triggers(app, settings, site)
    yield from build_agents(app, settings, site)


def _faults(app: AppSpec, settings: KnativeSettings, site: SiteSettings) -> Iterator[Fault]:
    """What eaves.yaml lacks for a cluster; each alone is allowed, together they can't work."""

    def fault(path: str, message: str) -> Fault:
        return Fault(origin="eaves.yaml", path=path, message=message)

    function = app.function
    if "@sha256:" not in function.image:
        told = f"got {function.image!r}" if function.image else "none is named"
        yield fault("knative.image", f"must name the function's container image by digest ({told})")
    if app.sources and not settings.agent_image:
        yield fault("knative.agent_image", "must be set where there are sources")
    for index, trigger in enumerate(app.triggers[1:]):
        if not trigger.url and trigger.delivery.timeout_s <= function.scale.start_timeout_s:
            path = f"triggers[{index}].delivery.timeout_s"
            yield fault(path, f"must be above scale.start_timeout_s, {function.scale.start_timeout_s:g}: a cold start")
    for index, source in enumerate(app.sources):
        for path, message in _source_faults(source, site, function.name):
            yield fault(f"sources[{index}].{path}" if "." not in path else path, message)


def _source_faults(source: SourceSpec, site: SiteSettings, function: str) -> Iterator[tuple[str, str]]:
    if source.agent == "node":
        path = str(source.options.get("path", ""))
        if not path.startswith("/"):
            yield "path", f"must be the whole path of a folder on the nodes (got {path!r})"
        if not site.namespace:
            yield "sites.namespace", f"must be set: the agent {source.name!r} on the nodes has a namespace of its own"
    elif not source.claim:
        yield "claim", f"must name the volume that the agent {source.name!r} reads, or `agent: node` be set"
    if source.agent == "claim" and len(f"{function}-{source.name}") > MAX_STATEFUL_SET:
        most = MAX_STATEFUL_SET - len(function) - 1
        yield "name", f"must be at most {most} characters long, for a StatefulSet that is named after {function} and it"


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: no anchors, which people and some tools stumble over."""

    def ignore_aliases(self, data: object) -> bool:
        """Always."""
        return True


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """An object as YAML, with comments where a field isn't obvious."""
    text = yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)
    return annotate(text, str(manifest["kind"]))


def file_name(position: int, manifest: Mapping[str, Any]) -> str:
    """Of an object: files are applied by name, so what others need comes first."""
    return f"{position:02d}-{str(manifest['kind']).lower()}-{manifest['metadata']['name']}.yaml"


def write_files(manifests: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """One file an object. Files that an earlier rendering left and that are no longer wanted are removed.

    Raises:
        StorageError: When the folder can't be written.
    """
    wanted = {file_name(10 + index, manifest): manifest for index, manifest in enumerate(manifests)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.yaml"):
            if path.name not in wanted and path.read_text(encoding="utf-8").startswith(HEAD):
                path.unlink()
        for name, manifest in wanted.items():
            staging = folder / f".{name}.tmp"
            staging.write_text(HEAD + to_yaml(manifest), encoding="utf-8")
            staging.rename(folder / name)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{folder} can't be written: {error}", hint="choose another with --output") from error
    return [folder / name for name in wanted]
