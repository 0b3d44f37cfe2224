"""Training images from a source, written to a folder after the same options as the images that are served later.

images   the folder, which stores the images and shows which were captured before
run      runs a source until there are enough images

No event is sent, and nothing but images is written into that folder.
"""
