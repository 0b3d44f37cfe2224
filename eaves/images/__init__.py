"""Encoded bytes > (H, W, 3) uint8 RGB: the one decoder of sources, training, conversion and serving.

`envelope` and `tiff` read a file's structure and keep only what its first picture needs; `decoder` gives that to
Pillow; `pixels` makes an array of it. What a sender may put beside the pixels (EXIF, profiles, comments, further
pictures) never reaches Pillow's parsers: of these a 20 MB file can ask for gigabytes of memory or minutes of work.
docs/04-function.md says what each kind of image becomes.

This file imports nothing: an agent that reads a file's structure needs no Pillow, and one that decodes needs no NumPy.
"""
