"""Complete settings of some sections as one JSON text, which a Job passes to the process that it runs.

    {"data": {"path": "s3://photos", "balance": "auto", ...}, "train": {"epochs": 0, ...}}

A section names every one of its settings, including those at their defaults: the version of Eaves in the process that
reads the text may have other defaults, so those don't count. A setting that the process doesn't know, or that the text
lacks, is an error.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from eaves import __version__
from eaves.config import SettingsLayer, iter_leaves
from eaves.errors import ConfigError, Fault

FLAG = "--settings"
HELP = (
    "Complete settings of some sections as one JSON text, which a Job passes. The environment and the other options "
    "take precedence. A setting that this version does not know, or that the text lacks, is an error."
)
_HINT = "create the Job with the same version of Eaves as in the trainer's container image, knative.trainer_image"


def collect_settings(section: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return every setting of a section that has no nested sections, as plain data for JSON.

    Args:
        section: The section's settings.
        without: Names of settings to leave out.
    """
    names = [leaf.path for leaf in iter_leaves(type(section)) if leaf.path not in without]
    return {name: getattr(section, name) for name in names}


def render_complete(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Render sections as the text that `parse_complete` reads, one setting per line.

    The text has no `$`, because Kubernetes replaces `$(NAME)` in a container's arguments.
    """
    text = json.dumps(sections, sort_keys=True, indent=1, default=str)
    return text.replace("$", "\\u0024")


def parse_complete(
    text: str, sections: Mapping[str, type], *, without: Collection[str] = ()
) -> dict[str, list[SettingsLayer]]:
    """Parse complete settings.

    Args:
        text: Text that `render_complete` made; empty: there are no settings.
        sections: Name of each section that the text must have, to its dataclass.
        without: Dotted paths of settings that the text may lack, because another option sets them.

    Returns:
        Name of each section to a list with its one layer; to an empty list when the text is empty.

    Raises:
        ConfigError: When settings are missing or unknown to this version of Eaves; the message names all of them.
    """
    if not text:
        return {name: [] for name in sections}
    values, faults = load_sections(text), list[Fault]()
    for name in {**sections, **values}:
        known = {leaf.path for leaf in iter_leaves(sections[name])} if name in sections else set()
        given = values.get(name, {}).keys()
        for key in sorted(known ^ given):
            path = f"{name}.{key}"
            if path not in without:
                what = "is missing for" if key in known else "is not known to"
                message = f"{what} Eaves {__version__}"
                faults.append(Fault(origin=FLAG, path=path, message=message))
    if faults:
        raise ConfigError(faults, hint=_HINT)
    return {name: [SettingsLayer(origin=FLAG, values=values[name])] for name in sections}


def load_sections(text: str) -> dict[str, dict[str, Any]]:
    """Load the sections of a text without checking their settings.

    Raises:
        ConfigError: When the text is not JSON, or holds something other than sections.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError.single(FLAG, "", f"is not JSON: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(section, dict) for section in values.values()):
        message = f'must be like {{"train": {{"epochs": 5}}}} (got {text[:80]!r})'
        raise ConfigError.single(FLAG, "", message)
    return values
