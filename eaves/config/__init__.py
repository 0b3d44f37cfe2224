"""Settings: sections with typed fields, layers of values, and the YAML that people write them in (`yaml_text`).

declarations   declares settings, lists them as a table, and reads their values from environment and command line
sections       merges layers into a validated section, and reports all faults at once
complete       every setting of some sections as one text, which a Job passes to its process
yaml_text      YAML without guessed types
"""

from __future__ import annotations

from eaves.config.declarations import (
    COMMAND_LINE,
    ENV_PREFIX,
    ENVIRONMENT,
    SettingsLayer,
    SettingsLeaf,
    env_layer,
    flag_layer,
    format_number,
    is_scalar,
    iter_leaves,
    put,
    setting,
)
from eaves.config.sections import build, build_flat

__all__ = [
    "COMMAND_LINE",
    "ENVIRONMENT",
    "ENV_PREFIX",
    "SettingsLayer",
    "SettingsLeaf",
    "build",
    "build_flat",
    "env_layer",
    "flag_layer",
    "format_number",
    "is_scalar",
    "iter_leaves",
    "put",
    "setting",
]
