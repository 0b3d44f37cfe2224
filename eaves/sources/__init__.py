"""Sources, which turn images into CloudEvents. `python -P -m eaves.sources` runs several of them as one agent.

An agent keeps every image that it found in a spool until the sink has accepted it, however long the link is down. A
source gives each image an id that is the same whenever it finds the image again (ARCHITECTURE.md, Events), so an image
that is found twice is sent once.

This package exports the names that another package needs to add its own kind of source (docs/sources.md). It imports
them when they are asked for, because the decoder of each camera is a process that imports this package and needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eaves.config import setting
    from eaves.sources.context import Frame, Outcome, SourceContext
    from eaves.sources.kind import SourceKind

__all__ = ["Frame", "Outcome", "SourceContext", "SourceKind", "setting"]
_MODULES = {
    "Frame": "eaves.sources.context",
    "Outcome": "eaves.sources.context",
    "SourceContext": "eaves.sources.context",
    "SourceKind": "eaves.sources.kind",
    "setting": "eaves.config",
}


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
