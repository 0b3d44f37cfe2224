"""Training images from a source: through the same options as the images that are served later, into a folder.

images   the folder, as the memory of what was captured and the place where it goes
run      a source that runs until there are enough

No event is sent, and nothing is written but images into that folder.
"""
