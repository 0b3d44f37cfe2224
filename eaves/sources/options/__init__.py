"""Options that every source can apply to its frames before they become events: drop frames, crop and shrink images.

settings  the options, a section of a source's settings, and their application in order, the rate among them
pixels    crop, difference from the last picture, scaling, encoding

Without an option a frame's bytes are passed on unchanged and Pillow is never imported. The options remember nothing
beyond the process: after a restart, the first frame of each camera is kept.
"""

from eaves.sources.context import Dropped
from eaves.sources.options.settings import FrameEditor, FrameOptions

__all__ = ["Dropped", "FrameEditor", "FrameOptions"]
