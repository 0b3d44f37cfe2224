"""Options that every source can apply to its frames before they become events: drop frames, crop and shrink images.

settings  the options, a section of a source's settings
pixels    crop, difference from the last picture, scaling, encoding
editor    applies all options in order, among them the limit on the rate, and returns the edited frame or why it is
          dropped

Without an option a frame's bytes are passed on unchanged and Pillow is never imported. The options remember nothing
beyond the process: after a restart, the first frame of each camera is kept.
"""

from eaves.sources.frame import Dropped
from eaves.sources.options.editor import FrameEditor
from eaves.sources.options.settings import FrameOptions

__all__ = ["Dropped", "FrameEditor", "FrameOptions"]
