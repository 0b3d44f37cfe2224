"""Collection of training images from a source, with the options that later images for predictions also get.

images   the folder, which stores the images and shows which were captured before
run      runs a source until there are enough images

No event is sent, and nothing but images is written into the folder.
"""
