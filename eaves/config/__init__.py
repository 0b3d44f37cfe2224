"""Settings: sections of typed fields, layers of values, and the YAML that people write values in (`yaml_text`)."""

from __future__ import annotations

from eaves.config.sections import (
    COMMAND_LINE,
    ENV_PREFIX,
    ENVIRONMENT,
    Layer,
    Leaf,
    build,
    build_flat,
    env_layer,
    flag_layer,
    is_scalar,
    iter_leaves,
    put,
    setting,
)

__all__ = [
    "COMMAND_LINE",
    "ENVIRONMENT",
    "ENV_PREFIX",
    "Layer",
    "Leaf",
    "build",
    "build_flat",
    "env_layer",
    "flag_layer",
    "is_scalar",
    "iter_leaves",
    "put",
    "setting",
]
