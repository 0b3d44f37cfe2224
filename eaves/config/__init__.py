"""Settings: sections of typed fields, layers of values, and the YAML that people write values in (`yaml_text`).

declarations   how a setting is declared, and the table of a section's settings
layers         what the environment and the command line say of them
sections       layers > a validated section, all faults at once
variables      the names of all environment variables, written by docs/variables.py
environment    what is wrong with the variables that a process is started with
complete       every setting of some sections as one text, as a Job tells its process
yaml_text      YAML without guessed types
"""

from __future__ import annotations

from eaves.config.declarations import ENV_PREFIX, SettingsLeaf, is_scalar, iter_leaves, setting
from eaves.config.layers import COMMAND_LINE, ENVIRONMENT, SettingsLayer, env_layer, flag_layer, put
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
    "is_scalar",
    "iter_leaves",
    "put",
    "setting",
]
