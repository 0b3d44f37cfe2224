"""Sources: what turns images into CloudEvents. `python -P -m eaves.sources` runs several of them as one agent.

An agent keeps everything it found in a spool until the sink has taken responsibility, for as long as the link is
down. A source gives each image an identity that is the same whenever it is found again (ARCHITECTURE.md, Events), so
that finding it twice sends it once.

The names here are what a package of anybody's needs for a source of its own (docs/06-sources.md).
"""

from eaves.config import setting
from eaves.sources.context import SourceContext
from eaves.sources.frame import Frame, Outcome
from eaves.sources.kind import SourceKind

__all__ = ["Frame", "Outcome", "SourceContext", "SourceKind", "setting"]
