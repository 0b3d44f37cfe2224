"""Rendering of an app at a site: every object in the order of applying, and the same as commented YAML files.

`deploy` applies exactly these objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eaves.base.files import write_atomically
from eaves.errors import ConfigError, StorageError
from knative.render.faults import find_faults
from knative.render.field_comments import annotate
from knative.resources.access import build_account, build_network_policy
from knative.resources.agent import build_agents
from knative.resources.eventing import build_broker, build_event_types, build_triggers
from knative.resources.fields.labels import PART_LABEL
from knative.resources.function import build_function
from knative.resources.pin import build_pin
from knative.resources.publisher import build_publishers
from knative.resources.relay import build_relay, build_relay_triggers
from knative.settings import KnativeSettings, SiteSettings
from knative.specs import ClusterApp

HEAD = "# Written by `eaves render` for `kubectl apply -f`. To change it, change eaves.yaml and render again.\n"


def render_app(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> tuple[dict[str, Any], ...]:
    """Render every object of an app at a site, in the order of applying.

    Raises:
        ConfigError: When eaves.yaml has faults for a cluster; it lists them all.
    """
    faults = list(find_faults(app, settings, site))
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(_objects(app, settings, site), key=lambda one: one["kind"] != "Namespace"))


def _objects(app: ClusterApp, settings: KnativeSettings, site: SiteSettings) -> Iterator[dict[str, Any]]:
    yield build_account(app, site)
    if settings.network_policy:
        yield build_network_policy(app, settings, site)
    if settings.create_broker:
        yield build_broker(app, settings, site)
    yield from build_event_types(app, settings, site)
    if settings.pin:
        yield build_pin(app, settings, site)
    yield build_function(app, settings, site)
    yield from build_publishers(app, settings, site)
    yield from build_relay(app, settings, site)
    yield from build_triggers(app, settings, site)
    yield from build_relay_triggers(app, settings, site)
    yield from build_agents(app, settings, site)


class _Plain(yaml.SafeDumper):
    """YAML dumper that writes repeated values in full, without anchors, and a multi-line string as a block."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True, so that a repeated value is written in full and not as a reference to an anchor."""
        return True


def _represent_text(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Render an object as YAML, with comments on fields that aren't obvious."""
    text = yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)
    part = (manifest["metadata"].get("labels") or {}).get(PART_LABEL, "")
    return annotate(text, str(manifest["kind"]), part)


def file_name(position: int, manifest: Mapping[str, Any]) -> str:
    """Return the name of an object's file.

    Files are applied in the order of their names, so objects that other objects need come first.
    """
    return f"{position:02d}-{str(manifest['kind']).lower()}-{manifest['metadata']['name']}.yaml"


def write_files(manifests: Sequence[Mapping[str, Any]], folder: Path, *, head: str = HEAD) -> list[Path]:
    """Write one file for each object, and remove files of an earlier rendering that are no longer wanted.

    Args:
        manifests: The objects, in the order of applying.
        folder: Folder for the files; it is created if it doesn't exist.
        head: First line of each file, a comment that says which command has written it.

    Raises:
        StorageError: When the folder can't be written.
    """
    wanted = {file_name(10 + index, manifest): manifest for index, manifest in enumerate(manifests)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.yaml"):
            if path.name not in wanted and path.read_text(encoding="utf-8").startswith(head):
                path.unlink()
        for name, manifest in wanted.items():
            content = head + to_yaml(manifest)
            write_atomically(folder / name, content, durability="none", mode=None, sole_writer=True)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{folder} can't be written: {error}", hint="choose another folder with --output") from error
    return [folder / name for name in wanted]
