"""Rendering of an app at a site: every object in the order of applying, and the same as YAML files.

`deploy` applies exactly these objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eaves.base.files import write_atomically
from eaves.errors import ConfigError, StorageError
from knative.resources.agent import build_agents
from knative.resources.eventing import build_broker, build_event_types, build_triggers
from knative.resources.faults import find_faults
from knative.resources.function import build_account, build_function, build_network_policy, build_pin
from knative.resources.publisher import build_publishers
from knative.resources.relay import build_relay, build_relay_triggers
from knative.settings import ClusterApp

HEAD = "# Written by `eaves render` for `kubectl apply -f`. To change it, change eaves.yaml and render again.\n"


def render_app(app: ClusterApp) -> tuple[dict[str, Any], ...]:
    """Render every object of an app at a site, in the order of applying.

    Raises:
        ConfigError: When eaves.yaml has faults for a cluster; it lists them all.
    """
    faults = list(find_faults(app))
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(_objects(app), key=lambda one: one["kind"] != "Namespace"))


def _objects(app: ClusterApp) -> Iterator[dict[str, Any]]:
    yield build_account(app)
    if app.knative.network_policy:
        yield build_network_policy(app)
    if app.knative.create_broker:
        yield build_broker(app)
    yield from build_event_types(app)
    if app.knative.pin:
        yield build_pin(app)
    yield build_function(app)
    yield from build_publishers(app)
    yield from build_relay(app)
    yield from build_triggers(app)
    yield from build_relay_triggers(app)
    yield from build_agents(app)


class _Plain(yaml.SafeDumper):
    """YAML dumper that writes repeated values in full, without anchors, and a multi-line string as a block."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True, so that a repeated value is written in full and not as a reference to an anchor."""
        return True


def _represent_text(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Render an object as YAML."""
    return yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)


def write_files(manifests: Sequence[Mapping[str, Any]], folder: Path, *, head: str = HEAD) -> list[Path]:
    """Write one file for each object, and remove files of an earlier rendering that are no longer wanted.

    Args:
        manifests: The objects, in the order of applying.
        folder: Folder for the files; it is created if it doesn't exist.
        head: First line of each file, a comment that says which command has written it.

    Raises:
        StorageError: When the folder can't be written.
    """
    # kubectl applies files in the order of their names, so objects that other objects need come first
    wanted = {
        f"{index}-{str(one['kind']).lower()}-{one['metadata']['name']}.yaml": one
        for index, one in enumerate(manifests, start=10)
    }
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
