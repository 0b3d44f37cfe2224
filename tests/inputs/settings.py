"""Settings as a file gives them: checked, and with defaults for what is left out."""

from collections.abc import Mapping
from typing import TypeVar

from eaves.config import SettingsLayer, build

T = TypeVar("T")


def settings_from(kind: type[T], values: Mapping[str, object]) -> T:
    """Build a section's settings from some values."""
    return build(kind, SettingsLayer(origin="test", values=dict(values)))
