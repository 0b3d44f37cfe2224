"""A source that is given on the command line: an address, a path, a .yaml file, or a mapping as in eaves.yaml."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eaves.cli.app.project import read_yaml
from eaves.errors import ConfigError, Fault
from eaves.sources.places import DEFAULT_NAME, SCHEMES, parse_place
from knative.specs import CLUSTER_SOURCE_SETTINGS

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
"""Pattern of a URI's scheme in lower case. Source: RFC 3986, section 3.1."""


def parse_source(text: str, options: Mapping[str, Any], *, origin: str, hint: str) -> dict[str, Any]:
    """Parse a source on the command line into settings as eaves.yaml holds them, and check them.

    Args:
        text: A URL, the path of a folder, an archive, a video file or a device, the path of a YAML file with the
            settings, or the settings themselves in YAML.
        options: Name of a setting to its value; settings that are None are left out.
        origin: Name of the option or argument, for faults.
        hint: Command that the error about faults shows.

    Raises:
        ConfigError: When the settings have faults; it holds all of them.
    """
    from eaves.sources.agent.configuration import read_source

    values = {"name": DEFAULT_NAME, **_parse_text(text, origin)}
    values |= {name: value for name, value in options.items() if value is not None}
    own = {name: value for name, value in values.items() if name not in CLUSTER_SOURCE_SETTINGS}
    _, faults = read_source(own, origin, "")
    if faults:
        raise ConfigError(faults, hint=hint)
    return values


def _parse_text(text: str, origin: str) -> dict[str, Any]:
    from eaves.config.yaml_text import load_yaml

    if (place := parse_place(text)) is not None:
        return place
    path = Path(text)
    if "{" not in text and path.suffix in {".yaml", ".yml"}:
        return read_yaml(path)
    try:
        values = load_yaml(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        message = "must be a URL, a folder, a video, a .yaml file, or a mapping such as {kind: http, url: ...}"
        scheme = text.partition("://")[0].lower()
        if _SCHEME.fullmatch(scheme) and "://" in text:
            known = ", ".join(f"{one}://" for one in SCHEMES)
            near = [f"{one}://" for one in SCHEMES if one in difflib.get_close_matches(scheme, SCHEMES, n=3)]
            meant = f"did you mean {' or '.join(near)}?" if near else f"a URL starts with one of {known}"
            message = f"{scheme}:// isn't supported; {meant}"
        raise ConfigError([Fault(origin=origin, path="", message=message)])  # without the text: it may hold a password
    return {str(name): value for name, value in values.items()}
