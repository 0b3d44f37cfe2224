"""Sources, which turn images into CloudEvents. `python -P -m eaves.sources` runs several of them as one agent.

An agent keeps every image that it found in a spool until the sink has accepted it, however long the link is down. A
source gives each image an id that is the same whenever it finds the image again (ARCHITECTURE.md, Events), so an image
that is found twice is sent once.

This package exports the names that another package needs to add its own kind of source (docs/sources.md).

context     the interface between a source and its agent; kind: a kind of source and its members
settings    settings of an agent and of every source; options, pixels: which images become events, and what of them
agent/      the parts of an agent's process that all sources share; __main__: the process itself
folder/, http/   the kinds of sources that need no plug-in; `eaves.plugins` has the others
sent_images, files, retry   what kinds of sources have in common: images sent before, events of files, a full spool
trial, collecting   a source run by a command, without a spool; queue: one request to the agent's queue
"""

from eaves.config import setting
from eaves.sources.context import Frame, Outcome, SourceContext
from eaves.sources.kind import SourceKind

__all__ = ["Frame", "Outcome", "SourceContext", "SourceKind", "setting"]
