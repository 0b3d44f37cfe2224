"""What every source can do to its frames before they become events: pass fewer of them, and cut or shrink them.

settings     the options, a section of a source's settings
hours        at which hours frames are captured
rate         at most so many frames in a time
region       a rectangle of the image
difference   how much two pictures differ
editor       all of it in order: a frame > the frame as it is sent, or why it isn't

Without an option a frame's bytes are passed on untouched and Pillow is never imported. Nothing here is remembered
beyond the process: after a restart the first frame of each camera is passed.
"""

from eaves.sources.frame import Dropped
from eaves.sources.options.editor import FrameEditor
from eaves.sources.options.settings import FrameOptions

__all__ = ["Dropped", "FrameEditor", "FrameOptions"]
